"""The person in S3: every version of every snapshot, reject file and corrected file that names them."""

import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from commands.erasure.person import Found, Person
from tasks.errors import ConfigError, ObjectInvalid
from tasks.files import create_private, sha256_of
from tasks.load.records import Record, header_bytes, read_chunks, read_header
from tasks.metadata import GUID
from tasks.s3 import DOWNLOAD_CHUNK, REFUSED, REJECTS, S3Object, Snapshot, read_object, real_version

KEPT = (
    "ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ServerSideEncryption",
    "SSEKMSKeyId", "BucketKeyEnabled", "StorageClass",
)  # fmt: skip
"""What a rewritten object keeps in addition to its metadata and tags."""
NO_TAGS = {"NotImplemented", "MethodNotAllowed"}
"""The error codes of a server that does not support tags."""
BINARY = (b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"\xff\xfe", b"\xfe\xff")
"""The first bytes of gzip, zip (and so .xlsx), Parquet and UTF-16."""
OVERLAP = 512
"""Bytes of a piece that are searched again with the next one, since a mention may span both."""


@dataclass(frozen=True)
class Version:
    """One version of one object; in a bucket without versions, the object itself."""

    bucket: str
    key: str
    version_id: str
    is_current: bool
    size: int

    @property
    def is_rejects(self) -> bool:
        """Whether it holds rejected rows, whose ids may be damaged."""
        return REJECTS in self.key


def list_versions(client: Any, bucket: str, prefixes: Iterable[str]) -> list[Version]:
    """Every version of every object under the prefixes."""
    found: dict[tuple[str, str], Version] = {}
    for prefix in prefixes:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            for each in page.get("Versions", []):
                version = Version(bucket, each["Key"], each["VersionId"], each["IsLatest"], each["Size"])
                found[version.key, version.version_id] = version
    return list(found.values())


def search(client: Any, versions: Iterable[Version], person: Person) -> tuple[list[Version], list[Version]]:
    """The versions that name the person, and those that are not UTF-8 text and so cannot be searched."""
    naming, unsearched = [], []
    for version in versions:
        wanted = {"Bucket": version.bucket, "Key": version.key, "VersionId": version.version_id}
        pattern = person.pattern(is_rejects=version.is_rejects)
        with closing(client.get_object(**wanted)["Body"]) as body:
            pieces = body.iter_chunks(DOWNLOAD_CHUNK)
            first = next(pieces, b"")
            if b"\0" in first[:4096] or first.startswith(BINARY):
                unsearched.append(version)
            elif mentions(chain([first], pieces), pattern):
                naming.append(version)
    return naming, unsearched


def mentions(pieces: Iterable[bytes], pattern: re.Pattern[bytes]) -> bool:
    """
    >>> mentions([b"x,AB", b"C,y"], re.compile(b"abc"))
    True
    """
    seen = b""
    for piece in pieces:
        seen = seen[-OVERLAP:] + piece.lower()
        if pattern.search(seen):
            return True
    return False


def plan(versions: list[Version]) -> list[Found]:
    """What will be done with the versions that name the person."""
    current = [version for version in versions if version.is_current]
    found = [
        Found(f"s3://{version.bucket}/{version.key}", 1, "current object, written anew without the person")
        for version in current
    ]
    if older := len(versions) - len(current):
        found.append(Found(f"s3://{versions[0].bucket}", older, "older versions, deleted whole"))
    return found


@dataclass(frozen=True)
class Rewritten:
    """A current object without the person."""

    before: Snapshot
    after: Snapshot | None
    """None if nothing was written: the object was about nobody else and was deleted, or its rows were all kept."""
    mentions: int
    """How many rows of others still mention the id."""
    kept_tags: bool = True
    """Whether the new object has the previous one's tags."""


def write_anew(
    client: Any, version: Version, person: Person, person_columns: set[str], folder: Path, blocks: str | None
) -> Rewritten | None:
    """Rewrite the current object without the person; everybody else's rows stay the same, byte for byte.

    None if it is not strict CSV, or not what its metadata says: then it is left as it is.

    Raises:
        ConfigError: somebody else has written the object in the meantime.
    """
    source = S3Object(version.bucket, version.key, real_version({"VersionId": version.version_id}))
    original, made = folder / "original", folder / "anew"
    try:
        before = read_object.fn(source, original, blocks=blocks)
        rows, left = copy_without(original, made, person, person_columns, is_rejects=version.is_rejects)
    except ObjectInvalid:
        return None
    head = client.head_object(Bucket=source.bucket, Key=source.key)
    found = head.get("VersionId", version.version_id), head["ETag"].strip('"')
    if found != (version.version_id, before.etag):
        raise ConfigError(f"{source}: it was written anew while this command ran. Run the command again.")
    if rows == 0 and before.is_plain:
        delete(client, version)
        client.delete_object(Bucket=source.bucket, Key=source.key)  # else the previous version would be current again
        return Rewritten(before, None, 0)
    after = replace(before, path=made, sha256=sha256_of(made), bytes=made.stat().st_size)
    if after.sha256 == before.sha256:  # there are only mentions in other people's rows
        return Rewritten(before, None, left)
    metadata = head.get("Metadata", {})
    if not before.is_plain:
        after = replace(after, rows=rows)
        kept = {name: value for name, value in metadata.items() if name.lower() not in ("rows", "sha256")}
        metadata = {**kept, "rows": str(rows), "sha256": after.sha256}
    same_as_before = {name: head[name] for name in KEPT if name in head}
    answer, kept_tags = put_with_tags(client, source, made, Metadata=metadata, **same_as_before)
    written = S3Object(source.bucket, source.key, real_version(answer))
    if written.version_id is not None or source.version_id is not None:  # otherwise it has replaced the previous one
        delete(client, version)
    return Rewritten(before, replace(after, object=written, etag=answer["ETag"].strip('"')), left, kept_tags)


def put_with_tags(client: Any, target: S3Object, body: Path, **options: Any) -> tuple[dict[str, Any], bool]:
    """Replace the current object and keep its tags; return S3's answer, and whether the tags could be kept."""
    tags = tags_of(client, target)
    if tags:
        try:
            return put(client, target, body, Tagging=tags, **options), True
        except ClientError as error:
            if error_code(error) not in REFUSED:
                raise
    return put(client, target, body, **options), tags == ""


def tags_of(client: Any, source: S3Object) -> str | None:
    """The current object's tags, in the format for PutObject; None if they may not be read."""
    try:
        found = client.get_object_tagging(Bucket=source.bucket, Key=source.key)["TagSet"]
    except ClientError as error:
        if error_code(error) in NO_TAGS:
            return ""
        if error_code(error) in REFUSED:
            return None
        raise
    return urlencode({tag["Key"]: tag["Value"] for tag in found})


def put(client: Any, target: S3Object, body: Path, **options: Any) -> dict[str, Any]:
    """Write an object; return S3's answer."""
    with body.open("rb") as file:
        answer: dict[str, Any] = client.put_object(Bucket=target.bucket, Key=target.key, Body=file, **options)
    return answer


def error_code(error: ClientError) -> str:
    """S3's error code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def delete(client: Any, version: Version) -> None:
    """Delete one version for good."""
    client.delete_object(Bucket=version.bucket, Key=version.key, VersionId=version.version_id)


def copy_without(
    source: Path, target: Path, person: Person, person_columns: set[str], *, is_rejects: bool
) -> tuple[int, int]:
    """Copy a CSV without the person's rows and references to them; count rows copied, and those that mention the id."""
    header = read_header(source)
    own = [number for number, name in enumerate(header) if name in person_columns]
    pattern, by_id = person.pattern(is_rejects=is_rejects), person.by_id
    copied = left = 0
    with create_private(target) as file:
        with source.open("rb") as first:
            file.write(first.read(header_bytes(source)))
        for chunk in read_chunks(source, len(header)):
            for record in chunk.records():
                kept: bytes | None = record.data
                if pattern.search(record.data.lower()):
                    kept = without(record, own, person, is_rejects=is_rejects)
                    left += kept is not None and bool(by_id.search(kept.lower()))
                if kept is not None:
                    file.write(kept)
                    copied += 1
    return copied, left


def without(record: Record, own: list[int], person: Person, *, is_rejects: bool) -> bytes | None:
    """A row that names the person, without references to them; None if it is the person's own row."""
    fields = record.fields()
    if is_own([fields[number] for number in own], person, is_rejects=is_rejects):
        return None
    kept = [None if person.is_named_by(field) else field for field in fields]
    ending = record.data[len(record.data.rstrip(b"\r\n")) :]
    return record.data if kept == fields else joined(kept) + ending


def is_own(keys: list[str | None], person: Person, *, is_rejects: bool) -> bool:
    """Whether a row that names the person is their own: it has their key or, in a reject file, nobody else's."""
    is_others = any(re.fullmatch(GUID, (key or "").strip().strip("{}")) for key in keys)
    return any(person.is_named_by(key) for key in keys) or is_rejects and not is_others


def joined(fields: list[str | None]) -> bytes:
    """A record of these fields without a line ending: null is empty, everything else quoted."""
    texts = ("" if field is None else '"' + field.replace('"', '""') + '"' for field in fields)
    return ",".join(texts).encode()
