"""The object: whole or not at all, and read back as it was written."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from sandbox.aws import BUCKET, SimulatedAws
from sandbox.people import DEPARTMENT
from tasks.columns import ColumnNames
from tasks.errors import AuthError, ConfigError, LoadFailed, ObjectInvalid, SnapshotShrank, Unreachable
from tasks.extract import publish as publish_module
from tasks.extract.flatten import FlatSnapshot, flatten_pages
from tasks.extract.publish import Published, write_csv
from tasks.s3 import S3Object, path_problem, read_object, s3_access
from tasks.streams import MEMBERS, Scope
from tests.deploy.calls import recorded
from tests.support.snapshots import raw_snapshot

KEY = "members/{department_id}.csv"
DATED = "members/{department_id}/{snapshot_at:%Y/%m/%d}.csv"


def flat(folder: Path, rows: int = 3, day: int = 1) -> FlatSnapshot:
    raw = raw_snapshot(folder, [{"id": f"id-{n}"} for n in range(rows)])
    made = flatten_pages.fn(raw, ColumnNames(), folder / "members.csv")
    return replace(made, snapshot_at=datetime(2026, 3, day, 2, 0, 0, 123456, tzinfo=UTC))


def publish(made: FlatSnapshot, key: str = KEY, **options: Any) -> Published:
    return write_csv.fn(made, BUCKET, key, **options)


def test_the_object_says_what_it_is(aws: SimulatedAws, tmp_path: Path) -> None:
    made = flat(tmp_path)
    published = publish(made)
    assert published.object.key == f"members/{DEPARTMENT}.csv"
    head = aws.s3.head_object(Bucket=BUCKET, Key=published.object.key)
    assert head["ContentType"] == "text/csv; charset=utf-8"
    assert {name.lower(): value for name, value in head["Metadata"].items()} == {
        "stream": "department-members",
        "department-id": DEPARTMENT,
        "snapshot-at": "2026-03-01T02:00:00.123456+00:00",
        "rows": "3",
        "sha256": made.sha256,
        "flow-run-id": "",
        "kind": "full",
        "format": "1",
    }
    assert published.object.version_id == head["VersionId"]


@pytest.mark.parametrize("threshold", [64 << 20, 1], ids=["one upload", "in parts"])
def test_the_version_is_the_uploads_own_though_another_writer_comes_right_after(
    aws: SimulatedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threshold: int
) -> None:
    class Raced:
        def __init__(self, client: Any) -> None:
            self.client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self.client, name)

        def upload_file(self, path: str, bucket: str, key: str, **options: Any) -> None:
            self.client.upload_file(path, bucket, key, **options)
            aws.s3.put_object(Bucket=bucket, Key=key, Body=b"another's")

    @contextmanager
    def raced(*arguments: Any) -> Iterator[Raced]:
        with s3_access(*arguments) as client:
            yield Raced(client)

    monkeypatch.setattr(publish_module, "s3_access", raced)
    monkeypatch.setattr(publish_module, "UPLOAD", TransferConfig(multipart_threshold=threshold))
    made = flat(tmp_path)
    version = publish(made).object.version_id
    found = aws.s3.get_object(Bucket=BUCKET, Key=f"members/{DEPARTMENT}.csv", VersionId=version)
    assert found["Body"].read() == made.path.read_bytes()


def test_what_is_read_is_what_was_written(aws: SimulatedAws, tmp_path: Path) -> None:
    made = flat(tmp_path)
    snapshot = read_object.fn(publish(made).object, tmp_path / "read.csv")
    assert snapshot.path.read_bytes() == made.path.read_bytes()
    assert (snapshot.rows, snapshot.scope and snapshot.scope.id, snapshot.snapshot_at) == (
        3,
        DEPARTMENT,
        made.snapshot_at,
    )
    assert snapshot.path.stat().st_mode & 0o777 == 0o600


def test_a_large_object_goes_up_in_parts(aws: SimulatedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from boto3.s3.transfer import TransferConfig

    part = 5 << 20
    monkeypatch.setattr(
        "tasks.extract.publish.UPLOAD", TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    )
    made = flat(tmp_path)
    with made.path.open("ab") as file:
        file.write(b'"' + b"x" * (11 << 20) + b'"' + b"," * 36 + b"\n")
    from tasks.files import sha256_of

    made = replace(made, sha256=sha256_of(made.path))
    assert read_object.fn(publish(made).object, tmp_path / "read.csv").sha256 == made.sha256


def test_a_version_is_read_though_a_newer_one_lies_there(aws: SimulatedAws, tmp_path: Path) -> None:
    first = publish(flat(tmp_path, 3)).object
    publish(flat(tmp_path, 4))
    assert read_object.fn(first, tmp_path / "a.csv").rows == 3
    assert read_object.fn(replace(first, version_id=None), tmp_path / "b.csv").rows == 4


@pytest.mark.parametrize(("before", "now", "passes"), [(10, 5, True), (10, 4, False), (0, 1, True), (3, 0, False)])
def test_a_department_that_lost_more_than_half_is_not_published(
    aws: SimulatedAws, tmp_path: Path, before: int, now: int, passes: bool
) -> None:
    publish(flat(tmp_path, before), allow_shrink=True)
    if passes:
        assert publish(flat(tmp_path, now)).previous_rows == before
        return
    with pytest.raises(SnapshotShrank, match=f"last published \\({before}\\), found {now}"):
        publish(flat(tmp_path, now))
    assert read_object.fn(S3Object(BUCKET, f"members/{DEPARTMENT}.csv"), tmp_path / "read.csv").rows == before
    assert publish(flat(tmp_path, now), allow_shrink=True).rows == now


def test_an_empty_department_is_not_published_even_the_first_time(aws: SimulatedAws, tmp_path: Path) -> None:
    with pytest.raises(SnapshotShrank):
        publish(flat(tmp_path, 0))
    assert aws.objects() == {}


def test_with_a_date_in_the_path_the_newest_object_is_the_one_to_compare_with(
    aws: SimulatedAws, tmp_path: Path
) -> None:
    publish(flat(tmp_path, 10, day=1), DATED)
    publish(flat(tmp_path, 8, day=2), DATED)
    aws.s3.put_object(Bucket=BUCKET, Key=f"members/{DEPARTMENT}/2026/03/02.csv.rejected/run.csv", Body=b"x")
    assert publish(flat(tmp_path, 4, day=3), DATED).previous_rows == 8
    assert sorted(aws.objects())[:1] == [f"members/{DEPARTMENT}/2026/03/01.csv"]


@pytest.mark.parametrize("key", [KEY, DATED])
def test_only_an_object_that_is_listed_is_asked_about(aws: SimulatedAws, tmp_path: Path, key: str) -> None:
    """S3 refuses the head of an absent object to a role that may not list the whole bucket."""
    with recorded() as first:
        publish(flat(tmp_path, day=1), key)
    assert [call.operation for call in first] == ["ListObjectsV2", "PutObject"]
    with recorded() as second:
        publish(flat(tmp_path, day=2), key)
    assert [call.operation for call in second] == ["ListObjectsV2", "HeadObject", "PutObject"]


def test_what_lies_beside_a_fixed_key_is_nothing_to_compare_with(aws: SimulatedAws, tmp_path: Path) -> None:
    key = publish(flat(tmp_path, 10)).object.key
    copy = {"Bucket": BUCKET, "CopySource": {"Bucket": BUCKET, "Key": key}}
    for beside in (f"{key}.old", f"{key}.rejected/run.csv"):
        aws.s3.copy_object(**copy, Key=beside)
    aws.s3.delete_object(Bucket=BUCKET, Key=key)
    assert publish(flat(tmp_path, 1)).previous_rows is None
    assert publish(flat(tmp_path, 2)).previous_rows == 1


def test_another_departments_object_is_nothing_to_compare_with(aws: SimulatedAws, tmp_path: Path) -> None:
    publish(replace(flat(tmp_path, 10), scope=Scope(MEMBERS, "another")), "members.csv")
    assert publish(flat(tmp_path, 1), "members.csv").previous_rows is None


def test_a_dry_run_looks_and_writes_nothing(aws: SimulatedAws, tmp_path: Path) -> None:
    publish(flat(tmp_path, 10))
    before = aws.objects()
    assert publish(flat(tmp_path, 9), dry_run=True).previous_rows == 10
    with pytest.raises(SnapshotShrank):
        publish(flat(tmp_path, 1), dry_run=True)
    assert aws.objects() == before


@pytest.mark.parametrize(
    ("body", "metadata", "says"),
    [
        (b"changed", {}, "expected SHA-256"),
        (None, {"sha256": "0" * 64}, "expected SHA-256"),
        (None, {"format": "2"}, "expected format 1"),
        (None, {"kind": "increment"}, "kind 'increment'"),
        (None, {"rows": "many"}, "its metadata is not what an extract writes"),
        (None, {"snapshot-at": "yesterday"}, "its metadata is not what an extract writes"),
    ],
)
def test_an_object_that_is_not_what_its_metadata_says_is_refused(
    aws: SimulatedAws, tmp_path: Path, body: bytes | None, metadata: dict[str, str], says: str
) -> None:
    made = flat(tmp_path)
    published = publish(made).object
    head = aws.s3.head_object(Bucket=BUCKET, Key=published.key)
    aws.s3.put_object(
        Bucket=BUCKET, Key=published.key, Body=body or made.path.read_bytes(), Metadata={**head["Metadata"], **metadata}
    )
    with pytest.raises(ObjectInvalid, match=says):
        read_object.fn(replace(published, version_id=None), tmp_path / "read.csv")


def test_a_file_without_metadata_is_a_plain_file(aws: SimulatedAws, tmp_path: Path) -> None:
    aws.s3.put_object(Bucket=BUCKET, Key="by-hand.csv", Body=b"lms_user_id\na\n", Metadata={"Author": "me"})
    snapshot = read_object.fn(S3Object(BUCKET, "by-hand.csv"), tmp_path / "read.csv")
    assert (snapshot.is_plain, snapshot.rows, snapshot.scope and snapshot.scope.id) == (True, None, None)


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (S3Object(BUCKET, "nothing.csv"), ObjectInvalid, "there is no such object"),
        (S3Object("no-such-bucket", "a.csv"), ConfigError, "there is no bucket no-such-bucket"),
        (S3Object("NOT A NAME", "a.csv"), ConfigError, "not a name that S3 accepts"),
    ],
)
def test_what_is_not_there_is_named(
    aws: SimulatedAws, tmp_path: Path, target: S3Object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        read_object.fn(target, tmp_path / "read.csv")


def test_s3_out_of_reach_is_worth_another_try(
    aws: SimulatedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = flat(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match="S3 cannot be reached"):
        publish(made)
    with pytest.raises(LoadFailed):
        read_object.fn(S3Object(BUCKET, "a.csv"), tmp_path / "read.csv")


@pytest.mark.parametrize("missing", [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY",)])
def test_without_credentials_the_message_says_where_they_go(
    aws: SimulatedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    made = flat(tmp_path)
    for name in missing:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        publish(made)


def test_a_refused_right_is_an_auth_error_that_names_the_action(
    aws: SimulatedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    from tasks.s3 import pipeline_error

    denied = ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "PutObject")
    error = pipeline_error(denied, S3Object("b", "k"))
    assert isinstance(error, AuthError)
    assert "PutObject was refused" in str(error)
    assert "absent" not in str(error)


@pytest.mark.parametrize(("operation", "code"), [("GetObject", "AccessDenied"), ("HeadObject", "403")])
def test_a_refused_read_may_mean_that_the_object_is_absent(operation: str, code: str) -> None:
    from botocore.exceptions import ClientError

    from tasks.s3 import pipeline_error

    denied = ClientError({"Error": {"Code": code}}, operation)
    assert str(pipeline_error(denied, S3Object("b", "k"))) == (
        f"s3://b/k: {operation} was refused ({code}). Check the AWS keys or role and their permissions. S3 also answers "
        "this for a missing object if you lack s3:ListBucket."
    )


@pytest.mark.parametrize(
    ("path", "good"),
    [("members.csv", True), (KEY, True), (DATED, True), ("{snapshot_at:%Y}/{department_id}/a.csv", True), ("{other}.csv", False),
     ("{}.csv", False), ("{department_id.__class__}.csv", False), ("a{.csv", False), ("/a.csv", False), ("s3://b/a.csv", False),
     ("{department_id!r}.csv", True)],
)  # fmt: skip
def test_only_the_departments_id_and_the_time_may_stand_in_a_path(path: str, good: bool) -> None:
    assert (path_problem(path, MEMBERS) is None) is good
