"""deploy/aws.yaml: clean to the linter, created in moto, and what it creates is as the documents say."""

import json
import re
from typing import Any

import pytest
from cfnlint.api import lint_file

from sandbox.stack import Sandbox
from tests.deploy.stack import BUCKET, PARAMETERS, TEMPLATE, UNKNOWN_TO_MOTO, Stack, create, replaced, template
from webhooks.objects import SnapshotFilter, created_objects


def properties(name: str) -> dict[str, Any]:
    """What the template says of one resource, with the parameters of the tests' stack filled in."""
    said: dict[str, Any] = template()["Resources"][name]["Properties"]
    parameters = {name: str(each.get("Default", "")) for name, each in template()["Parameters"].items()}
    filled: dict[str, Any] = replaced(said, {**parameters, **PARAMETERS})
    return filled


def test_the_linter_finds_nothing() -> None:
    assert lint_file(TEMPLATE) == []


def test_everything_is_created(stack: Stack) -> None:
    resources = template()["Resources"]
    conditional = {name for name, resource in resources.items() if resource.get("Condition") == "RunsOnEc2"}
    assert conditional == {"SyncInstanceProfile"}
    assert set(stack.resources()) == set(resources) - UNKNOWN_TO_MOTO - conditional
    assert set(stack.outputs) == set(template()["Outputs"]) - {"SyncInstanceProfileName"}


def test_the_bucket_is_encrypted_versioned_and_outlives_the_stack(stack: Stack) -> None:
    [rule] = stack.aws.s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert properties("Bucket")["VersioningConfiguration"] == {"Status": "Enabled"}
    bucket = template()["Resources"]["Bucket"]
    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_the_bucket_is_nobody_elses_and_tells_eventbridge() -> None:
    bucket = properties("Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}


PREFIXES = ("department_members/", "course_enrollments/")


@pytest.mark.parametrize(("policy", "action"), [("BucketPolicy", "s3:*"), ("AlertTopicPolicy", "sns:Publish")])
def test_nothing_goes_without_tls(policy: str, action: str) -> None:
    [statement] = properties(policy)["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", action)
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    arn = {"Fn::GetAtt": ["Bucket", "Arn"]}
    everywhere = [arn, {"Fn::Sub": "${Bucket.Arn}/*"}] if policy == "BucketPolicy" else {"Ref": "AlertTopic"}
    assert statement["Resource"] == everywhere


def as_the_api_takes_it(rule: dict[str, Any]) -> dict[str, Any]:
    """One lifecycle rule of CloudFormation's, in the words of S3's API."""
    renamed = {"ID": rule.pop("Id"), "Filter": {"Prefix": rule.pop("Prefix")}}
    days, marker = rule.pop("ExpirationInDays", None), rule.pop("ExpiredObjectDeleteMarker", None)
    expiration = {"Days": days and int(days), "ExpiredObjectDeleteMarker": marker}
    old = {name: int(value) for name, value in rule.pop("NoncurrentVersionExpiration", {}).items()}
    given = {name: value for name, value in expiration.items() if value is not None}
    return {**rule, **renamed, "Expiration": given, **({"NoncurrentVersionExpiration": old} if old else {})}


def test_s3_takes_the_rules_by_which_snapshots_and_old_versions_expire(stack: Stack) -> None:
    rules = [as_the_api_takes_it(rule) for rule in properties("Bucket")["LifecycleConfiguration"]["Rules"]]
    stack.aws.s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rules})
    taken = stack.aws.s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    [snapshots, markers, *enrollments] = taken
    assert {rule["Status"] for rule in taken} == {"Enabled"}
    assert {rule["Filter"]["Prefix"] for rule in (snapshots, markers)} == {"department_members/"}
    assert {rule["Filter"]["Prefix"] for rule in enrollments} == {"course_enrollments/"}
    alike = [{**rule, "ID": "", "Filter": {}} for rule in taken]
    assert alike[:2] == alike[2:]
    assert snapshots["Expiration"]["Days"] == 90
    assert snapshots["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30
    assert snapshots["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert markers["Expiration"]["ExpiredObjectDeleteMarker"] is True


def test_alerts_go_by_mail(stack: Stack) -> None:
    topic = stack.outputs["AlertTopicArn"]
    [subscription] = stack.aws.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operator@example.org")


def test_what_the_rule_matches_is_what_the_webhook_service_wants(stack: Stack) -> None:
    rule = stack.aws.client("events").describe_rule(Name=stack.resources()["ObjectCreatedRule"])
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": BUCKET}, "object": {"key": "department_members/a.csv"}},
    }
    assert rule["State"] == "ENABLED"
    assert json.loads(rule["EventPattern"]) == {
        "source": [event["source"]],
        "detail-type": [event["detail-type"]],
        "detail": {"bucket": {"name": [BUCKET]}, "object": {"key": [{"prefix": name} for name in PREFIXES]}},
    }
    [created], _ = created_objects(event)
    assert SnapshotFilter(BUCKET, PREFIXES).wants(created)


def test_the_rule_delivers_to_the_webhook_service_with_its_key_for_a_day(stack: Stack) -> None:
    events = stack.aws.client("events")
    [target] = events.list_targets_by_rule(Rule=stack.resources()["ObjectCreatedRule"])["Targets"]
    assert target["Arn"] == stack.outputs["WebhookDestinationArn"]
    assert target["RoleArn"] == stack.role("DeliveryRole")["Arn"]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}
    destination = events.describe_api_destination(Name=stack.name)
    assert (destination["HttpMethod"], destination["InvocationEndpoint"]) == ("POST", PARAMETERS["WebhookUrl"])
    connection = events.describe_connection(Name=destination["ConnectionArn"].split("/")[1])
    assert connection["AuthParameters"] == {"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key"}}
    secret = stack.aws.client("secretsmanager").get_secret_value(SecretId=connection["SecretArn"])
    assert PARAMETERS["WebhookApiKey"] in secret["SecretString"]


def test_eventbridge_may_call_that_destination_alone(stack: Stack) -> None:
    [policy] = properties("DeliveryRole")["Policies"]
    destination = {"Fn::GetAtt": ["WebhookDestination", "Arn"]}
    assert policy["PolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Action": "events:InvokeApiDestination", "Resource": destination}
    ]
    [trust] = stack.role("DeliveryRole")["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "events.amazonaws.com"}
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:events:eu-west-1:123456789012:rule/*"},
    }


def test_what_nobody_took_lies_in_an_encrypted_queue_into_which_the_rule_alone_may_put(stack: Stack) -> None:
    [target] = stack.aws.client("events").list_targets_by_rule(Rule=stack.resources()["ObjectCreatedRule"])["Targets"]
    url = stack.outputs["UndeliveredEventsUrl"]
    wanted = ["QueueArn", "MessageRetentionPeriod"]
    queue = stack.aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
    assert target["DeadLetterConfig"] == {"Arn": queue["QueueArn"]}
    assert queue["MessageRetentionPeriod"] == str(14 * 24 * 3600)
    assert properties("UndeliveredEvents")["SqsManagedSseEnabled"] is True
    [statement] = properties("UndeliveredEventsPolicy")["PolicyDocument"]["Statement"]
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["ObjectCreatedRule", "Arn"]}}}


def test_alerts_are_encrypted(stack: Stack) -> None:
    attributes = stack.aws.client("sns").get_topic_attributes(TopicArn=stack.outputs["AlertTopicArn"])["Attributes"]
    assert attributes["KmsMasterKeyId"] == "alias/aws/sns"


ROLES = ["ExtractRole", "LoadRole", "SyncRole", "WebhooksRole"]


def test_what_runs_the_pipeline_takes_its_roles(stack: Stack, box: Sandbox) -> None:
    on_ec2 = create(box.aws, "on-ec2", BucketName="on-ec2", TrustedService="ec2.amazonaws.com")
    for made, service in ((stack, "ecs-tasks.amazonaws.com"), (on_ec2, "ec2.amazonaws.com")):
        for role in ROLES:
            assert made.role(role)["Arn"] == made.outputs[f"{role}Arn"]
            [trust] = made.role(role)["AssumeRolePolicyDocument"]["Statement"]
            condition = trust.pop("Condition", None)
            assert trust == {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
            ours = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
            assert condition == (ours if made is stack else None), "EC2 names no account when it takes a role"
    profile = box.aws.client("iam").get_instance_profile(InstanceProfileName=on_ec2.outputs["SyncInstanceProfileName"])
    assert [role["Arn"] for role in profile["InstanceProfile"]["Roles"]] == [on_ec2.outputs["SyncRoleArn"]]


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("BucketName", ["lms-snapshots"], ["LMS", "a", "lms.snapshots", "-a-b"]),
        ("SnapshotPrefix", ["department_members/", "members.csv", "a b/c="], ["", "/a", "s3://b/a", "a*", "a?", "{a}", "${a}"]),
        ("AlertEmail", ["a@example.org"], ["a", "a b@example.org"]),
        ("WebhookUrl", ["https://hooks.example.org/eventbridge"], ["http://hooks.example.org/", "https://a b"]),
        ("DatabaseResourceId", ["", "db-ABC2", "cluster-ABC2", "prx-0abc"], ["*", "db-*", "my-database"]),
        ("DatabaseUser", ["", "loader"], ["*", "a/b", "a?"]),
    ],
)  # fmt: skip
def test_a_parameter_that_would_widen_a_right_or_break_later_is_refused(
    parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = template()["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in good if not re.fullmatch(pattern, value)] == []
    assert [value for value in bad if re.fullmatch(pattern, value)] == []


def test_the_key_is_shown_nowhere_and_is_as_long_as_the_service_asks() -> None:
    key = template()["Parameters"]["WebhookApiKey"]
    assert (key["NoEcho"], key["MinLength"]) == (True, 16)
    assert "WebhookApiKey" not in json.dumps(template()["Outputs"])
