"""Publish the snapshot as an S3 object: completely or not at all, and not if too many rows are missing."""

import re
import time
from dataclasses import dataclass
from heapq import nlargest
from string import Formatter
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from prefect import task
from prefect.runtime import flow_run

from tasks.columns import ColumnNames
from tasks.credentials import hash_key
from tasks.errors import ConfigError, SnapshotShrank
from tasks.extract.flatten import FlatSnapshot
from tasks.extract.hashing import key_id
from tasks.log import run_logger
from tasks.s3 import FORMAT, S3Object, Snapshot, listed, object_key, real_version, s3_access
from tasks.streams import MEMBERS, Scope
from tasks.task_options import IN_MEMORY, RETRIED

UPLOAD = TransferConfig(multipart_threshold=64 << 20, multipart_chunksize=8 << 20, max_concurrency=8)

HASH_KEY_ID = "hash-key-id"
"""The metadata entry with the id of the hash key; absent if no column is hashed."""
HASHED_COLUMNS = "hashed-columns"
"""The metadata entry with the names in LMS_HASH_COLUMNS; absent also from objects of earlier versions."""
MOST_LOOKED_AT = 1000
"""The most objects checked to find a scope's last snapshot; each takes one request."""
UNREADABLE = {"400", "404", "NotFound", "NoSuchKey"}
"""What S3 answers for an object that is gone meanwhile, or encrypted with a key that only its writer has."""


@dataclass(frozen=True)
class Published:
    """Where a snapshot is, and how many rows the one published before it had (None: there was none)."""

    object: S3Object
    rows: int
    previous_rows: int | None
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Previous:
    """What the last published snapshot's metadata says."""

    rows: int
    hash_key_id: str | None
    hashed_columns: str
    """As `ColumnNames.hashed_text` gives them."""


@dataclass(frozen=True)
class Extracted:
    """One scope's snapshot: as a file, and as an object."""

    flat: FlatSnapshot
    published: Published


@task(name="write-csv", task_run_name="write-csv {flat.scope.label}", **IN_MEMORY, **RETRIED)
def write_csv(
    flat: FlatSnapshot,
    bucket: str,
    path_template: str,
    *,
    allow_shrink: bool = False,
    allow_hash_change: bool = False,
    dry_run: bool = False,
    blocks: str | None = None,
) -> Published:
    """Upload the snapshot as one S3 object with its checksum and row count as metadata; a dry run uploads nothing.

    Retried if S3 cannot be reached: an object appears completely or not at all, so a repeated upload is safe.

    Raises:
        SnapshotShrank: no rows, or less than half as many as last published (not with allow_shrink).
        ConfigError: the hash key has changed, or a column is no longer hashed (not with allow_hash_change).
        AuthError, ConfigError, LoadFailed: S3 refused access, a name is wrong, or S3 could not be reached.
    """
    began = time.monotonic()
    target = S3Object(bucket, object_key(path_template, flat.scope, flat.snapshot_at))
    with s3_access(target, blocks) as client:
        previous = last_published(client, bucket, path_template, flat.scope)
        if not allow_shrink:
            check_volume(flat, previous.rows if previous else None)
        if previous and not allow_hash_change:
            check_hash_settings(flat.scope, flat.names, flat.hash_key_id, previous)
        if not dry_run:
            target = upload(client, flat, target)
    return Published(target, flat.rows, previous.rows if previous else None, flat.bytes, time.monotonic() - began)


def unpublished(flat: FlatSnapshot, published: Published) -> Snapshot:
    """For a dry run: the snapshot as it would have been read back."""
    return Snapshot(flat.path, published.object, "", flat.sha256, flat.bytes, flat.rows, flat.scope, flat.snapshot_at)


def upload(client: Any, flat: FlatSnapshot, target: S3Object) -> S3Object:
    """Put the file; returns the object with the version that S3 gave it, where it keeps versions."""
    # S3 keeps metadata as text, in at most 2 KB.
    metadata = {
        "stream": flat.scope.stream.name,
        flat.scope.stream.scope_metadata: flat.scope.id,
        "snapshot-at": flat.snapshot_at.isoformat(),
        "rows": str(flat.rows),
        "sha256": flat.sha256,
        "flow-run-id": str(flow_run.id or ""),
        "kind": "full",
        "format": FORMAT,
        **({HASH_KEY_ID: flat.hash_key_id, HASHED_COLUMNS: flat.names.hashed_text} if flat.hash_key_id else {}),
    }
    extra = {"Metadata": metadata, "ContentType": "text/csv; charset=utf-8"}
    answers: list[dict[str, Any]] = []  # upload_file gives none; a later look may find another writer's version
    events, ends = client.meta.events, ("after-call.s3.PutObject", "after-call.s3.CompleteMultipartUpload")

    def note(parsed: dict[str, Any], **_: Any) -> None:
        answers.append(parsed)

    for end in ends:
        events.register(end, note)
    try:
        client.upload_file(str(flat.path), target.bucket, target.key, ExtraArgs=extra, Config=UPLOAD)
    finally:
        for end in ends:
            events.unregister(end, note)
    return S3Object(target.bucket, target.key, real_version(answers[-1]))


def check_volume(flat: FlatSnapshot, previous_rows: int | None) -> None:
    """Raise SnapshotShrank for a scope that has no rows, or lost more than half of them."""
    if flat.rows > 0 and (previous_rows is None or flat.rows * 2 >= previous_rows):
        return
    before = "unknown" if previous_rows is None else f"{previous_rows}"
    error = SnapshotShrank(
        f"{flat.scope}: expected at least half as many {flat.scope.stream.item_noun} as last published ({before}), "
        f"found {flat.rows}. Nothing was published. Check {flat.scope.stream.scope_setting} and the account's "
        "permissions; if so many did leave, run once with allow_shrink."
    )
    error.no_baseline = not previous_rows
    raise error


@task(name="check-hash-keys", **IN_MEMORY, **RETRIED)
def check_hash_keys(
    scopes: tuple[Scope, ...], names: ColumnNames, bucket: str, path_template: str, *, blocks: str | None = None
) -> None:
    """Columns are hashed as in the last snapshot of each of several scopes, checked before any is published.

    Raises:
        ConfigError: the key is another one, or a column is no longer hashed.
    """
    key = hash_key(blocks)
    with s3_access(S3Object(bucket, path_template), blocks) as client:
        for scope in scopes:
            if previous := last_published(client, bucket, path_template, scope):
                check_hash_settings(scope, names, key_id(key) if key else None, previous)


def check_hash_settings(scope: Scope, names: ColumnNames, hash_key_id: str | None, previous: Previous) -> None:
    """Raise ConfigError where values would have other hashes than last time, or be hashed no more."""
    plain = names.hashed_no_longer(previous.hashed_columns)
    if previous.hash_key_id in (None, hash_key_id) and not plain:
        return
    if hash_key_id is None:
        found = "no column to hash"
    elif plain:
        found = f"{', '.join(plain)} no longer hashed, so the values themselves would be stored"
    else:
        found = "a different LMS_HASH_KEY, so no hash would match an earlier one"
    raise ConfigError(
        f"{scope}: expected the same hash settings as for its last snapshot, found {found}. Nothing was "
        "published. Correct LMS_HASH_COLUMNS and LMS_HASH_KEY; if the change is intended, run once with "
        "allow_hash_change."
    )


def last_published(client: Any, bucket: str, path_template: str, scope: Scope) -> Previous | None:
    """The metadata of this scope's last object; None, with a log line, if there is none.

    Checks the objects whose keys match the template, newest first. Other scopes' objects and other files are skipped.
    """
    prefix, could_be = key_pattern(path_template, scope)
    could_be_ours = (entry for entry in listed(client, bucket, prefix) if could_be.fullmatch(entry["Key"]))
    # S3 lists by key, not by time, so every match is read; only the newest stay in memory.
    newest = nlargest(MOST_LOOKED_AT, could_be_ours, key=lambda entry: (entry["LastModified"], entry["Key"]))
    for entry in newest:
        if (previous := snapshot_of(client, bucket, entry["Key"], scope)) is not None:
            return previous
    run_logger().info(
        "%s: found no earlier snapshot to compare with among %d object(s) in s3://%s/%s",
        scope, len(newest), bucket, prefix,
    )  # fmt: skip
    return None


def snapshot_of(client: Any, bucket: str, key: str, scope: Scope) -> Previous | None:
    """What an object's metadata says, if it is a snapshot of that scope."""
    try:
        head = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in UNREADABLE:
            return None
        raise
    metadata = {name.lower(): value for name, value in head["Metadata"].items()}
    rows = metadata.get("rows", "")
    # objects of earlier versions name no stream: they hold members
    same_stream = metadata.get("stream", MEMBERS.name) == scope.stream.name
    same = same_stream and metadata.get(scope.stream.scope_metadata, "").lower() == scope.id
    # isdigit is also true of digits that int refuses, such as ²
    is_count = rows.isascii() and rows.isdigit()
    if not (same and is_count):
        return None
    return Previous(int(rows), metadata.get(HASH_KEY_ID), metadata.get(HASHED_COLUMNS, ""))


def key_pattern(path_template: str, scope: Scope) -> tuple[str, re.Pattern[str]]:
    """What every key of a scope's snapshots begins with, and what the whole key looks like.

    >>> prefix, could_be = key_pattern("m/{snapshot_at:%Y/%m}/{department_id}.csv", Scope(MEMBERS, "abc"))
    >>> prefix, bool(could_be.fullmatch("m/2026/03/abc.csv")), bool(could_be.fullmatch("m/2026/03/other.csv"))
    ('m/', True, False)
    """
    prefix, pattern, dated = "", "", False
    for text, field, spec, conversion in Formatter().parse(path_template):
        if field == scope.stream.scope_column:
            text += f"{{:{spec}}}".format(Formatter().convert_field(scope.id, conversion))
        prefix += "" if dated else text
        pattern += re.escape(text)
        if field == "snapshot_at":
            dated = True
            # the format is the user's own, so a date may be any text
            pattern += ".*"
    return prefix, re.compile(pattern, re.DOTALL)
