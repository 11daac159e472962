"""Objects without the person: every byte of others, and the tags, stay."""

from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from commands.erasure.objects import copy_without, put_with_tags, tags_of
from commands.erasure.person import Person
from sandbox.aws import BUCKET, SimulatedAws
from tasks.s3 import S3Object, s3_access
from tests.deploy.calls import Call, recorded

ADA, BEA, CID = (f"00000000-0000-4000-8000-00000000000{n}" for n in "abc")
TARGET = S3Object(BUCKET, "members.csv")
TAGS = {"cost centre": "A+B=1", "retention": ""}


def put_anew(folder: Path) -> bool:
    """Whether the tags were kept."""
    (folder / "anew").write_bytes(b"anew")
    with s3_access(TARGET, None) as client:
        return put_with_tags(client, TARGET, folder / "anew", ContentType="text/csv")[1]


def stored(aws: SimulatedAws) -> tuple[bytes, dict[str, str]]:
    found = aws.s3.get_object_tagging(Bucket=BUCKET, Key=TARGET.key)["TagSet"]
    return aws.objects()[TARGET.key], {tag["Key"]: tag["Value"] for tag in found}


def refuse_writing_tags(call: Call) -> bool:
    return call.operation == "PutObject" and "Tagging" in call.parameters


@pytest.fixture
def tagged(aws: SimulatedAws) -> SimulatedAws:
    aws.s3.put_object(Bucket=BUCKET, Key=TARGET.key, Body=b"before")
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    aws.s3.put_object_tagging(Bucket=BUCKET, Key=TARGET.key, Tagging={"TagSet": tags})
    return aws


def test_an_object_written_anew_keeps_its_tags(tagged: SimulatedAws, tmp_path: Path) -> None:
    assert put_anew(tmp_path)
    assert stored(tagged) == (b"anew", TAGS)


@pytest.mark.parametrize("refuse", [lambda call: call.operation == "GetObjectTagging", refuse_writing_tags])
def test_tags_that_may_not_be_read_or_written_are_lost_and_said_to_be(
    tagged: SimulatedAws, tmp_path: Path, refuse: object
) -> None:
    with recorded(refuse):  # type: ignore[arg-type]
        assert not put_anew(tmp_path)
    assert stored(tagged) == (b"anew", {})


def test_an_object_without_tags_needs_no_right_to_write_them(aws: SimulatedAws, tmp_path: Path) -> None:
    aws.s3.put_object(Bucket=BUCKET, Key=TARGET.key, Body=b"before")
    with recorded(refuse_writing_tags):
        assert put_anew(tmp_path)


@pytest.mark.parametrize(("code", "found"), [("NotImplemented", ""), ("MethodNotAllowed", ""), ("AccessDenied", None)])
def test_a_server_that_knows_no_tags_has_none_to_lose(code: str, found: str | None) -> None:
    class Server:
        def get_object_tagging(self, **_: str) -> None:
            raise ClientError({"Error": {"Code": code}}, "GetObjectTagging")

    assert tags_of(Server(), TARGET) == found


def test_a_copy_keeps_every_byte_of_others(tmp_path: Path) -> None:
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    quoted = f'"lms_user_id","supervisor_id","notes"\r\n"{BEA}","{{{ADA.upper()}}}",""\r\n"{CID}",,"a ""b"""\r\n"{ADA}",,\r\n'
    source.write_bytes(b"\xef\xbb\xbf" + quoted.encode())
    assert copy_without(source, target, Person(ADA), {"lms_user_id"}, is_rejects=False) == (2, 0)
    assert target.read_bytes() == (
        b"\xef\xbb\xbf" + f'"lms_user_id","supervisor_id","notes"\r\n"{BEA}",,""\r\n"{CID}",,"a ""b"""\r\n'.encode()
    )
