"""The stack of deploy/aws.yaml, made in moto."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfnlint.decode import decode

from sandbox.aws import SimulatedAws

TEMPLATE = Path(__file__).parents[2] / "deploy" / "aws.yaml"
BUCKET = "members-of-the-stack"
DATABASE_USER = "signs_in_by_iam"
DATABASE_ID = "db-ABCDEFGHIJKL"
PARAMETERS = {
    "BucketName": BUCKET,
    "AlertEmail": "operator@example.org",
    "WebhookUrl": "https://hooks.example.org/eventbridge",
    "WebhookApiKey": "0123456789abcdef",
    "DatabaseResourceId": DATABASE_ID,
    "DatabaseUser": DATABASE_USER,
}
# moto's CloudFormation does not know these types: the first two are made by the same properties through EventBridge's
# API, the others are looked at in the template.
UNKNOWN_TO_MOTO = {
    "WebhookConnection",
    "WebhookDestination",
    "BucketPolicy",
    "AlertTopicPolicy",
    "UndeliveredEventsPolicy",
}


@dataclass(frozen=True)
class Stack:
    """What was created, and where."""

    name: str
    aws: SimulatedAws
    outputs: dict[str, str]

    def resources(self) -> dict[str, str]:
        """The physical id of each resource, by its name in the template."""
        listed = self.aws.client("cloudformation").describe_stack_resources(StackName=self.name)["StackResources"]
        made = [entry for entry in listed if "PhysicalResourceId" in entry]  # moto lists what a condition left out too
        return {entry["LogicalResourceId"]: entry["PhysicalResourceId"] for entry in made}

    def role(self, name: str) -> dict[str, Any]:
        """That role, as IAM has it."""
        found: dict[str, Any] = self.aws.client("iam").get_role(RoleName=self.resources()[name])["Role"]
        return found

    def statements(self, role: str) -> list[dict[str, Any]]:
        """Every statement of every policy that the role has, as IAM has them."""
        iam, name = self.aws.client("iam"), self.resources()[role]
        assert iam.list_role_policies(RoleName=name)["PolicyNames"] == []
        policies = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        versions = [iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId="v1") for policy in policies]
        return [one for version in versions for one in version["PolicyVersion"]["Document"]["Statement"]]


def template() -> dict[str, Any]:
    """The template, its short forms written out."""
    read, problems = decode(str(TEMPLATE))
    assert not problems
    parsed: dict[str, Any] = json.loads(json.dumps(read))
    return parsed


def create(aws: SimulatedAws, name: str, **parameters: str) -> Stack:
    """Create the stack with those parameters in place of the usual ones."""
    given = {**PARAMETERS, **parameters}
    parsed = template()
    destination = create_destination(aws, name, parsed["Resources"], given)
    parsed["Resources"] = {n: made for n, made in parsed["Resources"].items() if n not in UNKNOWN_TO_MOTO}
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(replaced(parsed, {"WebhookDestination.Arn": destination})),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    [made] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    # moto's CloudFormation overlooks this property of a bucket.
    versioning = parsed["Resources"]["Bucket"]["Properties"]["VersioningConfiguration"]
    aws.s3.put_bucket_versioning(Bucket=given["BucketName"], VersioningConfiguration=versioning)
    return Stack(name, aws, {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]})


def create_destination(aws: SimulatedAws, name: str, resources: dict[str, Any], given: dict[str, str]) -> str:
    """The API destination and its connection; the destination's ARN."""
    events = aws.client("events")
    connection = replaced(resources["WebhookConnection"]["Properties"], given)
    arn = events.create_connection(Name=name, **connection)["ConnectionArn"]
    destination = replaced(resources["WebhookDestination"]["Properties"], {**given, "WebhookConnection.Arn": arn})
    return str(events.create_api_destination(Name=name, **destination)["ApiDestinationArn"])


def replaced(node: Any, values: dict[str, str]) -> Any:
    """The node with those of its references (`Name`, `Name.Attribute`) replaced that `values` has."""
    if isinstance(node, list):
        return [replaced(entry, values) for entry in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("Ref") or ".".join(node.get("Fn::GetAtt", []))
    return values.get(reference) or {name: replaced(value, values) for name, value in node.items()}
