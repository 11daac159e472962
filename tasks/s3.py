"""The snapshot's object in S3: written whole or not at all, and read back as it was written."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from string import Formatter
from typing import Any

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from prefect import task
from prefect.runtime import flow_run

from blocks.resolve import s3_bucket
from tasks.errors import (
    AuthError,
    ConfigError,
    LoadFailed,
    ObjectInvalid,
    PipelineError,
    SnapshotShrank,
    Unreachable,
)
from tasks.files import create_private, sha256_of
from tasks.flatten import FlatSnapshot
from tasks.policy import IN_MEMORY, RETRIED

FORMAT = "1"
# One attempt a request: the task's own retry is the layer that repeats, and it is seen in the UI.
CLIENT_CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60)
UPLOAD = TransferConfig(multipart_threshold=64 << 20, multipart_chunksize=16 << 20, max_concurrency=4)
DOWNLOAD_CHUNK = 1 << 20
REFUSED = {"AccessDenied", "Forbidden", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
ABSENT = {"404", "NotFound", "NoSuchKey", "NoSuchVersion"}
PATH_FIELDS = {"department_id", "snapshot_at"}


@dataclass(frozen=True)
class S3Object:
    """One object, or one version of it."""

    bucket: str
    key: str
    version_id: str | None = None

    def __str__(self) -> str:
        version = f" (version {self.version_id})" if self.version_id else ""
        return f"s3://{self.bucket}/{self.key}{version}"


@dataclass(frozen=True)
class Published:
    """Where a snapshot lies, and how many rows the one published before it had (None: there was none)."""

    object: S3Object
    rows: int
    previous_rows: int | None
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Snapshot:
    """An object's content on this machine's disk, and what its metadata says of it.

    A file without our metadata (`is_plain`) has no department, no snapshot time and no order.
    """

    path: Path
    object: S3Object
    etag: str
    sha256: str
    bytes: int
    rows: int | None = None
    department_id: str | None = None
    snapshot_at: datetime | None = None

    @property
    def is_plain(self) -> bool:
        """Whether this is a file that our extract did not write."""
        return self.snapshot_at is None


@task(name="write-csv", **IN_MEMORY, **RETRIED)
def write_csv(
    flat: FlatSnapshot,
    bucket: str,
    path_template: str,
    *,
    allow_shrink: bool = False,
    dry_run: bool = False,
    blocks: str | None = None,
) -> Published:
    """The snapshot is one object in S3, with its proof as metadata; a dry run only looks.

    Retried when S3 is out of reach: an object appears whole or not at all, so a repeated upload
    replaces nothing by half.

    Raises:
        SnapshotShrank: no members, or less than half of those last published; not with allow_shrink.
        AuthError, ConfigError, LoadFailed: S3 refused, is misnamed, or stayed out of reach.
    """
    began = time.monotonic()
    client = s3_client(blocks)
    key = object_key(path_template, flat.department_id, flat.snapshot_at)
    target = S3Object(bucket, key)
    with s3_errors(target):
        previous_rows = rows_last_published(client, bucket, path_template, flat)
        if not allow_shrink:
            check_volume(flat, previous_rows)
        if not dry_run:
            target = upload(client, flat, target)
    return Published(target, flat.rows, previous_rows, flat.bytes, time.monotonic() - began)


@task(name="read-object", **IN_MEMORY, **RETRIED)
def read_object(source: S3Object, path: Path, *, blocks: str | None = None) -> Snapshot:
    """The object's bytes lie at `path`, and are those that its metadata vouches for.

    Raises:
        ObjectInvalid: no such object, or its SHA-256 or size differs from what was published.
        AuthError, ConfigError, LoadFailed: S3 refused, is misnamed, or stayed out of reach.
    """
    client = s3_client(blocks)
    version = {"VersionId": source.version_id} if source.version_id else {}
    with s3_errors(source):
        response = client.get_object(Bucket=source.bucket, Key=source.key, **version)
        with create_private(path) as file:
            for chunk in response["Body"].iter_chunks(DOWNLOAD_CHUNK):
                file.write(chunk)
    return vouched(source, path, response)


def unpublished(flat: FlatSnapshot, published: Published) -> Snapshot:
    """For a dry run: the snapshot as it would have been read back."""
    return Snapshot(
        flat.path, published.object, "", flat.sha256, flat.bytes, flat.rows, flat.department_id, flat.snapshot_at
    )


def vouched(source: S3Object, path: Path, response: dict[str, Any]) -> Snapshot:
    """What lies at `path` with what its metadata says, if both agree.

    Raises:
        ObjectInvalid: they do not, or the metadata itself is malformed.
    """
    metadata = {name.lower(): value for name, value in response.get("Metadata", {}).items()}
    found = sha256_of(path)
    plain = Snapshot(
        path=path,
        object=S3Object(source.bucket, source.key, source.version_id or real_version(response)),
        etag=response["ETag"].strip('"'),
        sha256=found,
        bytes=path.stat().st_size,
    )
    if "snapshot-at" not in metadata:
        return plain
    try:
        if metadata["format"] != FORMAT or metadata["kind"] != "full":
            raise ObjectInvalid(
                f"{source}: expected format {FORMAT} and kind full, found format {metadata['format']!r} and kind "
                f"{metadata['kind']!r}. Load it with the version of this project that wrote it."
            )
        snapshot_at = datetime.fromisoformat(metadata["snapshot-at"])
        rows, department_id, expected = int(metadata["rows"]), metadata["department-id"], metadata["sha256"]
    except (KeyError, ValueError) as error:
        raise ObjectInvalid(
            f"{source}: its metadata is not what an extract writes ({type(error).__name__}: {error}). Extract it again."
        ) from None
    if found != expected:
        raise ObjectInvalid(
            f"{source}: expected SHA-256 {expected}, found {found} in {plain.bytes} bytes. It was changed after it was "
            "published, or read by half. Nothing was loaded; extract it again."
        )
    return Snapshot(**{**vars(plain), "rows": rows, "department_id": department_id, "snapshot_at": snapshot_at})


def upload(client: Any, flat: FlatSnapshot, target: S3Object) -> S3Object:
    """Put the file; returns the object with the version that S3 gave it, where it keeps versions."""
    metadata = {
        "department-id": flat.department_id,
        "snapshot-at": flat.snapshot_at.isoformat(),
        "rows": str(flat.rows),
        "sha256": flat.sha256,
        "flow-run-id": str(flow_run.id or ""),
        "kind": "full",
        "format": FORMAT,
    }
    extra = {"Metadata": metadata, "ContentType": "text/csv; charset=utf-8"}
    client.upload_file(str(flat.path), target.bucket, target.key, ExtraArgs=extra, Config=UPLOAD)
    head = client.head_object(Bucket=target.bucket, Key=target.key)
    return S3Object(target.bucket, target.key, real_version(head))


def check_volume(flat: FlatSnapshot, previous_rows: int | None) -> None:
    """Raise SnapshotShrank for a department that has no members, or lost more than half of them."""
    if flat.rows > 0 and (previous_rows is None or flat.rows * 2 >= previous_rows):
        return
    before = "unknown" if previous_rows is None else f"{previous_rows}"
    raise SnapshotShrank(
        f"department {flat.department_id}: expected at least half of the members last published ({before}), found "
        f"{flat.rows}. Nothing was published. Check DEPARTMENT_ID and the account's rights; if so many did leave, "
        "run once with allow_shrink."
    )


def rows_last_published(client: Any, bucket: str, path_template: str, flat: FlatSnapshot) -> int | None:
    """How many rows the department's last object says it has; None where there is none to compare with."""
    key = last_key(client, bucket, path_template, flat)
    if key is None:
        return None
    try:
        head = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ABSENT:
            return None
        raise
    metadata = {name.lower(): value for name, value in head["Metadata"].items()}
    rows = metadata.get("rows", "")
    same = metadata.get("department-id") == flat.department_id
    return int(rows) if same and rows.isascii() and rows.isdigit() else None


def last_key(client: Any, bucket: str, path_template: str, flat: FlatSnapshot) -> str | None:
    """The key last written: the fixed one, or the newest under what comes before `{snapshot_at`."""
    if "{snapshot_at" not in path_template:
        return object_key(path_template, flat.department_id, flat.snapshot_at)
    prefix = object_key(path_template.split("{snapshot_at")[0], flat.department_id, flat.snapshot_at)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    objects = (entry for page in pages for entry in page.get("Contents", []))
    newest = max(
        (entry for entry in objects if ".rejected/" not in entry["Key"]),
        key=lambda entry: (entry["LastModified"], entry["Key"]),
        default=None,
    )
    return None if newest is None else str(newest["Key"])


def object_key(path_template: str, department_id: str, snapshot_at: datetime) -> str:
    """The key of one snapshot: `members/{department_id}/{snapshot_at:%Y/%m/%d}.csv` with its fields filled in."""
    return path_template.format(department_id=department_id, snapshot_at=snapshot_at)


def path_problem(path_template: str) -> str | None:
    """What is wrong with a path template, or None."""
    allowed = "only {department_id} and {snapshot_at:%Y/%m/%d} may stand in braces"
    try:
        fields = {field for _, field, _, _ in Formatter().parse(path_template) if field is not None}
        object_key(path_template, "", datetime(2026, 1, 1))
    except (ValueError, KeyError, IndexError, AttributeError):
        return allowed
    if not fields <= PATH_FIELDS:
        return allowed
    if path_template.startswith("/") or re.match(r"s3:", path_template):
        return "must be a key inside the bucket, such as members.csv: no s3://, no leading slash"
    return None


def real_version(response: dict[str, Any]) -> str | None:
    """The version id, or None in a bucket that keeps no versions."""
    version = response.get("VersionId")
    return None if version in (None, "null") else str(version)


def s3_client(blocks: str | None) -> Any:
    """A boto3 client by the credentials of the block set, or of the environment."""
    credentials = s3_bucket(blocks).credentials
    parameters = credentials.aws_client_parameters.get_params_override()
    config = CLIENT_CONFIG.merge(parameters.pop("config", None) or Config())
    return credentials.get_boto3_session().client("s3", config=config, **parameters)


@contextmanager
def s3_errors(target: S3Object) -> Iterator[None]:
    """Turn what boto3 raises into the error tree."""
    try:
        yield
    except (S3UploadFailedError, ClientError, BotoCoreError, OSError) as error:
        raise explained(error, target) from None


def explained(error: Exception, target: S3Object) -> PipelineError:
    """The error of our tree that one of boto3's means."""
    if isinstance(error, S3UploadFailedError) and isinstance(error.__context__, Exception):
        error = error.__context__
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return ConfigError(
            f"{target}: no AWS credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give the "
            "instance a role, or save a block."
        )
    if isinstance(error, ParamValidationError):
        return ConfigError(f"{target} is not a name that S3 accepts. Check S3_BUCKET_NAME and the path.")
    if not isinstance(error, ClientError):
        return Unreachable(f"{target}: S3 is out of reach ({type(error).__name__}). Nothing was changed; run again.")
    code = str(error.response.get("Error", {}).get("Code", ""))
    action = error.operation_name
    if code in REFUSED:
        return AuthError(f"{target}: {action} was refused ({code}). Check the AWS keys or role, and its rights there.")
    if code == "NoSuchBucket":
        return ConfigError(f"there is no bucket {target.bucket}. Check S3_BUCKET_NAME and the region.")
    if code in ABSENT:
        return ObjectInvalid(f"{target}: there is no such object. Check bucket and key, or extract first.")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= 500 or status == 429 or code in {"SlowDown", "RequestTimeout"}:
        return Unreachable(f"{target}: {action} answered {status} ({code}). Nothing was changed; run again.")
    return LoadFailed(f"{target}: {action} answered {status} ({code}). Nothing was changed.")
