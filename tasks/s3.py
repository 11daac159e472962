"""Objects in S3: their names, the client, what its errors mean, and the snapshot read back as it was written."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError
from prefect import task
from prefect_aws.credentials import AwsCredentials, MinIOCredentials

from tasks.credentials import s3_bucket
from tasks.errors import (
    AuthError,
    ConfigError,
    LoadFailed,
    ObjectInvalid,
    PipelineError,
    Unreachable,
)
from tasks.files import create_private, sha256_of
from tasks.library_errors import AWS_ERRORS, aws_trouble
from tasks.metadata import FORMAT as FORMAT
from tasks.metadata import checked_metadata, is_ours, lower_names, scope_of
from tasks.streams import Scope, Stream
from tasks.task_options import IN_MEMORY, RETRIED
from tasks.text import harmless

# One attempt per request: only the task retries, and that is visible in the UI.
CLIENT_CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60)
DOWNLOAD_CHUNK = 1 << 20
REFUSED = {
    # "401" and "403": a HEAD response has no body, so botocore gives its status as the code
    "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AuthFailure", "Forbidden", "401", "403",
    "InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
    "RequestTimeTooSkewed", "ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidIdentityToken",
}  # fmt: skip
OTHER_REGION = {"PermanentRedirect", "TemporaryRedirect", "301", "AuthorizationHeaderMalformed"}
ABSENT = {"404", "NotFound", "NoSuchKey", "NoSuchVersion"}
READS = {"GetObject", "HeadObject"}
REJECTS = ".rejected/"  # what follows the key of an object whose rejected rows are there


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
class Snapshot:
    """An object's content on local disk, and what its metadata says about it.

    A file without our metadata (`is_plain`) has no scope, no snapshot time and no order.
    """

    path: Path
    object: S3Object
    etag: str
    sha256: str
    bytes: int
    rows: int | None = None
    scope: Scope | None = None
    snapshot_at: datetime | None = None

    @property
    def subject(self) -> str:
        """A readable name: its scope, or the end of its key."""
        return harmless(self.object.key.rpartition("/")[2]) if self.scope is None else self.scope.label

    @property
    def is_plain(self) -> bool:
        """Whether this is a file that our extract did not write."""
        return self.snapshot_at is None


@task(name="read-object", **IN_MEMORY, **RETRIED)
def read_object(source: S3Object, path: Path, *, blocks: str | None = None) -> Snapshot:
    """Download an object to `path` and verify it against its metadata.

    Raises:
        ObjectInvalid: no such object, or its SHA-256 or size differs from what was published.
        AuthError, ConfigError, LoadFailed: S3 refused access, a name is wrong, or S3 could not be reached.
    """
    version = {"VersionId": source.version_id} if source.version_id else {}
    with s3_access(source, blocks) as client:
        response = client.get_object(Bucket=source.bucket, Key=source.key, **version)
        with create_private(path) as file:
            for chunk in response["Body"].iter_chunks(DOWNLOAD_CHUNK):
                file.write(chunk)
    return verified(source, path, response)


def verified(source: S3Object, path: Path, response: dict[str, Any]) -> Snapshot:
    """The file at `path` as a snapshot, checked against the object's metadata.

    An object whose metadata names neither a scope nor a snapshot time is a plain file, whatever else it names.

    Raises:
        ObjectInvalid: the metadata is not what an extract writes, or the content differs from it. Extract again.
    """
    metadata = lower_names(response.get("Metadata", {}))
    plain = Snapshot(
        path=path,
        object=S3Object(source.bucket, source.key, source.version_id or real_version(response)),
        etag=response["ETag"].strip('"'),  # HTTP has it in quotes
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
    )
    if not is_ours(metadata):
        return plain
    expected = checked_metadata(str(source), metadata)
    if plain.sha256 != expected["sha256"]:
        raise ObjectInvalid(
            f"{source}: expected SHA-256 {expected['sha256']}, found {plain.sha256} in {plain.bytes} bytes. It was "
            "changed after it was published, or was only partly downloaded. Nothing was loaded; extract again."
        )
    return replace(
        plain,
        rows=int(expected["rows"]),
        scope=scope_of(expected),
        snapshot_at=datetime.fromisoformat(expected["snapshot-at"]),
    )


def object_key(path_template: str, scope: Scope, snapshot_at: datetime) -> str:
    """The key of one snapshot: `members/{department_id}/{snapshot_at:%Y/%m/%d}.csv` with its fields filled in."""
    return path_template.format(snapshot_at=snapshot_at, **{scope.stream.scope_column: scope.id})


def path_problem(path_template: str, stream: Stream, *, several: bool = False) -> str | None:
    """What is wrong with a path template, or None; with `several` scopes it must name a separate object for each."""
    allowed = f"the only fields allowed in braces are {{{stream.scope_column}}} and {{snapshot_at:%Y/%m/%d}}"
    try:
        fields = {field for _, field, _, _ in Formatter().parse(path_template) if field is not None}
        object_key(path_template, Scope(stream, ""), datetime(2026, 1, 1))
    except (ValueError, KeyError, IndexError, AttributeError):
        return allowed
    if not fields <= {stream.scope_column, "snapshot_at"}:
        return allowed
    sample = "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11"
    if several and sample not in object_key(path_template, Scope(stream, sample), datetime(2026, 1, 1)):
        return (
            f"must contain {{{stream.scope_column}}}, since several {stream.scope_noun}s are read, each into its own "
            "object"
        )
    if path_template.startswith("/") or re.match(r"s3:", path_template):
        return "must be a key inside the bucket, such as members.csv: no s3://, no leading slash"
    return None


def listed(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """What S3 lists of every object whose key begins with `prefix`, in the order of their keys.

    Use this to find out whether an object exists: for a missing object, HeadObject answers 403 if the role's
    s3:ListBucket is limited to a prefix, because a HEAD request names no prefix.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", [])


def real_version(response: dict[str, Any]) -> str | None:
    """The version id, or None in a bucket that keeps no versions."""
    version = response.get("VersionId")
    return None if version in (None, "null") else str(version)


@contextmanager
def s3_access(target: S3Object, blocks: str | None) -> Iterator[Any]:
    """A boto3 client with the credentials of the block set or environment; converts its errors to PipelineErrors."""
    credentials = s3_bucket(blocks).credentials
    try:
        yield client_of(credentials, frozenset(item for item in os.environ.items() if item[0].startswith("AWS_")))
    except (ClientError, *AWS_ERRORS) as error:
        raise pipeline_error(error, target) from None


@lru_cache(maxsize=4)
def client_of(credentials: AwsCredentials | MinIOCredentials, environment: frozenset[tuple[str, str]]) -> Any:
    """A client for these credentials and AWS variables; cached, since creating one takes 100 ms."""
    parameters = credentials.aws_client_parameters.get_params_override()
    # what a saved block sets itself wins
    config = CLIENT_CONFIG.merge(parameters.pop("config", None) or Config())
    return credentials.get_boto3_session().client("s3", config=config, **parameters)


def pipeline_error(error: Exception, target: S3Object) -> PipelineError:
    """The error of our tree that one of boto3's means."""
    # upload_file wraps the ClientError, which only the context keeps
    if isinstance(error, S3UploadFailedError) and isinstance(error.__context__, Exception):
        error = error.__context__
    if isinstance(error, ParamValidationError):
        return ConfigError(f"{target} is not a name that S3 accepts. Check S3_BUCKET_NAME and the path.")
    if not isinstance(error, ClientError):
        return aws_trouble(error, target)
    code = str(error.response.get("Error", {}).get("Code", ""))
    action = error.operation_name
    if code in REFUSED:
        absent = " S3 also answers this for a missing object if you lack s3:ListBucket." if action in READS else ""
        return AuthError(
            f"{target}: {action} was refused ({code}). Check the AWS keys or role and their permissions.{absent}"
        )
    if code == "NoSuchBucket":
        return ConfigError(f"there is no bucket {target.bucket}. Check S3_BUCKET_NAME and the region.")
    if code in OTHER_REGION:
        return ConfigError(f"{target}: the bucket is in another region ({code}). Check AWS_DEFAULT_REGION.")
    if code in ABSENT:
        return ObjectInvalid(f"{target}: there is no such object. Check the bucket and key, or run the extract first.")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    # S3 answers RequestTimeout, about a body that came too slowly, with 400
    if status >= 500 or status == 429 or code in {"SlowDown", "RequestTimeout"}:
        return Unreachable(f"{target}: {action} answered {status} ({code}). Nothing was changed; run again.")
    return LoadFailed(
        f"{target}: {action} answered {status} ({code}). Nothing was changed. Look up this error code in the S3 "
        "documentation."
    )
