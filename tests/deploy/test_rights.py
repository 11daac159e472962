"""Each role against the calls that its flows really make: every call is allowed, and nothing is allowed that no call needs."""

import pytest
from boto3.s3.transfer import TransferConfig

from commands.check import check_bucket
from flows.course_sync import course_sync
from flows.course_to_s3 import course_to_s3
from flows.department_sync import department_sync
from flows.lms_to_s3 import lms_to_s3
from flows.s3_to_rds import s3_to_rds
from sandbox.courses import COURSE
from sandbox.people import DEPARTMENT, person
from sandbox.stack import Sandbox
from tasks.credentials import alert_topic
from tasks.errors import AuthError, ObjectInvalid
from tasks.s3 import ABSENT
from tasks.settings import Resolver, extract_settings
from tasks.streams import MEMBERS
from tests.deploy.calls import Call, recorded
from tests.deploy.rights import Grant, Need, grants, need
from tests.deploy.stack import BUCKET, DATABASE_ID, DATABASE_USER, Stack, create

PATH = "S3_DEPARTMENT_MEMBERS_PATH"
KEY = f"department_members/{DEPARTMENT}.csv"
DATED = "department_members/{department_id}/{snapshot_at:%Y/%m/%d-%H%M%S}.csv"
OBJECTS = f"arn:aws:s3:::{BUCKET}/department_members/"
PART = 5 << 20  # S3's least


def assert_role_fits(stack: Stack, role: str, calls: list[Call]) -> None:
    """What the role allows is what these calls need; none of them asked for an object's head to learn that it is absent."""
    allowed = grants(stack.statements(role))
    asked = [need(call) for call in calls]
    assert [each for each in asked if not any(grant.allows(each) for grant in allowed)] == []
    assert [grant for grant in allowed if not any(grant.allows(each) for each in asked)] == []
    assert not [grant for grant in allowed if "*" in grant.action]
    assert [call for call in calls if call.operation == "HeadObject" and call.error in ABSENT] == []


def publish_in_parts(monkeypatch: pytest.MonkeyPatch, box: Sandbox) -> None:
    """From here on, snapshots are of more than two parts."""
    monkeypatch.setattr(
        "tasks.extract.publish.UPLOAD", TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
    )
    box.lms.add({**person(901), "notes": "x" * 2 * PART})
    box.lms.courses.enrol(person(901)["id"], courseName="x" * 2 * PART)


def enrol(box: Sandbox, ids: list[str]) -> None:
    """Each of them takes the course; and one whose enrollment no table takes."""
    for member_id in ids:
        box.lms.courses.enrol(member_id)
    box.lms.courses.enrol(ids[0], status="unknown")


def is_second_part(call: Call) -> bool:
    return call.operation == "UploadPart" and call.parameters["PartNumber"] == 2


def checked_bucket() -> list[str]:
    return list(check_bucket(extract_settings(Resolver(None), MEMBERS, None, None, None, None, None), None))


def test_the_extract_may_do_what_it_does_and_nothing_else(
    stack: Stack, in_stack: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(in_stack, in_stack.lms.add_people(3))
    with recorded(refuse=is_second_part) as calls:
        assert checked_bucket()[1] == f"can list; s3://{BUCKET}/{KEY} does not exist yet"
        lms_to_s3()
        lms_to_s3()
        assert checked_bucket()[1] == f"can list and read s3://{BUCKET}/{KEY}"
        course_to_s3(course_id=COURSE)
        course_to_s3(course_id=COURSE)
        publish_in_parts(monkeypatch, in_stack)
        with pytest.raises(AuthError, match="UploadPart was refused"):
            lms_to_s3()
        with pytest.raises(AuthError, match="UploadPart was refused"):
            course_to_s3(course_id=COURSE)
    with recorded() as more:
        lms_to_s3()
        monkeypatch.setenv(PATH, DATED)
        lms_to_s3()
        lms_to_s3()
    operations = [call.operation for call in calls + more]
    assert {"AbortMultipartUpload", "CompleteMultipartUpload", "PutObject", "Publish"} <= set(operations)
    assert_role_fits(stack, "ExtractRole", calls + more)


def test_the_load_may_do_what_it_does_and_nothing_else(stack: Stack, in_stack: Sandbox) -> None:
    enrol(in_stack, in_stack.lms.add_people(20))
    in_stack.lms.add({**person(900), "gender": "unknown"})
    lms_to_s3()
    course_to_s3(course_id=COURSE)
    [taken] = in_stack.aws.s3.list_object_versions(Bucket=BUCKET, Prefix="course_enrollments/")["Versions"]
    [version] = in_stack.aws.s3.list_object_versions(Bucket=BUCKET, Prefix=KEY)["Versions"]
    with recorded() as calls:
        report = s3_to_rds(bucket=BUCKET, key=KEY, version_id=version["VersionId"], create_table=True)
        assert (report["inserted"], report["rejected"]) == (20, 1)
        assert s3_to_rds(on_departure="mark")["outcome"] != "loaded"
        with pytest.raises(ObjectInvalid):
            s3_to_rds(key="department_members/none.csv")
        report = s3_to_rds(key=taken["Key"], version_id=taken["VersionId"], create_table=True)
        assert (report["inserted"], report["rejected"]) == (20, 1)
        s3_to_rds(key=taken["Key"])
    assert [call.parameters["Key"] for call in calls if call.operation == "PutObject"][0].startswith(f"{KEY}.rejected/")
    assert_role_fits(stack, "LoadRole", calls)


def test_the_sync_may_do_what_it_does_and_nothing_else(
    stack: Stack, in_stack: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(in_stack, in_stack.lms.add_people(20))
    in_stack.lms.add({**person(900), "gender": "unknown"})
    with recorded(refuse=is_second_part) as calls:
        department_sync(create_table=True)
        department_sync()
        course_sync(course_id=COURSE, create_table=True)
        course_sync(course_id=COURSE)
        publish_in_parts(monkeypatch, in_stack)
        with pytest.raises(AuthError):
            department_sync()
        with pytest.raises(AuthError):
            course_sync(course_id=COURSE)
    assert_role_fits(stack, "SyncRole", calls)


def test_the_webhook_service_may_publish_alerts_and_nothing_else(stack: Stack, in_stack: Sandbox) -> None:
    topic = alert_topic(None)
    assert topic is not None
    with recorded() as calls:
        topic.publish("a subject", "a message")
    assert_role_fits(stack, "WebhooksRole", calls)


WHOLE = f"arn:aws:s3:::{BUCKET}"
CONNECTS = f"arn:aws:rds-db:eu-west-1:123456789012:dbuser:{DATABASE_ID}"


@pytest.mark.parametrize(
    ("role", "asked"),
    [
        ("ExtractRole", Need("s3:GetObject", f"arn:aws:s3:::{BUCKET}/other/a.csv")),
        ("ExtractRole", Need("s3:PutObject", f"arn:aws:s3:::{BUCKET}/other/a.csv")),
        ("ExtractRole", Need("s3:PutObject", "arn:aws:s3:::another-bucket/department_members/a.csv")),
        ("ExtractRole", Need("s3:ListBucket", WHOLE)),
        ("ExtractRole", Need("s3:ListBucket", WHOLE, {"s3:prefix": ""})),
        ("ExtractRole", Need("rds-db:connect", f"{CONNECTS}/{DATABASE_USER}")),
        ("LoadRole", Need("s3:PutObject", f"{OBJECTS}a.csv")),
        ("LoadRole", Need("s3:ListBucket", WHOLE, {"s3:prefix": "department_members/"})),
        ("LoadRole", Need("rds-db:connect", f"{CONNECTS}/postgres")),
        ("SyncRole", Need("s3:DeleteObject", f"{OBJECTS}a.csv")),
        ("SyncRole", Need("sns:Publish", "arn:aws:sns:eu-west-1:123456789012:another")),
        ("WebhooksRole", Need("s3:GetObject", f"{OBJECTS}a.csv")),
    ],
)
def test_what_a_role_may_not_do(stack: Stack, role: str, asked: Need) -> None:
    assert not any(grant.allows(asked) for grant in grants(stack.statements(role)))


def test_without_a_database_id_nobody_signs_in_by_iam(in_process: Sandbox) -> None:
    password = create(in_process.aws, "by-password", BucketName="by-password", DatabaseResourceId="", DatabaseUser="")
    assert "SignInPolicy" not in password.resources()
    assert {grant.action for grant in grants(password.statements("LoadRole"))} == {
        "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "sns:Publish",
    }  # fmt: skip


def test_a_grant_is_read_as_iam_reads_it() -> None:
    grant = Grant("s3:ListBucket", "arn:aws:s3:::b", {"StringLike": {"s3:prefix": "members/*"}})
    assert grant.allows(Need("s3:ListBucket", "arn:aws:s3:::b", {"s3:prefix": "members/a"}))
    assert not grant.allows(Need("s3:ListBucket", "arn:aws:s3:::b", {"s3:prefix": "m"}))
    assert not grant.allows(Need("s3:ListBucket", "arn:aws:s3:::b"))
    assert not grant.allows(Need("s3:ListBucket", "arn:aws:s3:::bb", {"s3:prefix": "members/a"}))
