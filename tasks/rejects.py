"""The reject file: the rows that could not be loaded, as they came, each with the reason why."""

import io
import re
from pathlib import Path

from prefect.runtime import flow_run

from tasks.align import REJECT_COLUMNS
from tasks.records import read_chunks, read_header
from tasks.s3 import REJECTS, S3Object, Snapshot, s3_access
from tasks.staging import Rejected

_FIELD = rb'(?:"(?:[^"]|"")*"|[^,"\r\n]*),'
_REJECT_FIELDS = re.compile(_FIELD * len(REJECT_COLUMNS))


def rejected_records(path: Path, refused: dict[int, tuple[str, str]], key_index: int) -> list[Rejected]:
    """The records that the table refused, found again in the file."""
    found: list[Rejected] = []
    number = 0
    for chunk in read_chunks(path) if refused else ():
        for record in chunk.records():
            number += 1
            if number in refused:
                column, reason = refused[number]
                key = record.fields()[key_index]
                found.append(Rejected(number, record.line, column, reason, key, record.data))
    return found


def reject_file(header: list[str], rejected: list[Rejected]) -> bytes:
    """CSV: line, column and reason before each row's own bytes.

    A file that is itself a mended reject file has such columns already; they give way to the new ones.
    """
    again = tuple(header[: len(REJECT_COLUMNS)]) == REJECT_COLUMNS
    names = header[len(REJECT_COLUMNS) :] if again else header
    out = io.BytesIO()
    out.write(",".join(map(_quoted, [*REJECT_COLUMNS, *names])).encode() + b"\n")
    for row in sorted(rejected, key=lambda row: row.record):
        data = _REJECT_FIELDS.sub(b"", row.data, count=1) if again else row.data
        out.write(f"{row.line},{_quoted(row.column)},{_quoted(row.reason)},".encode() + data.rstrip(b"\r\n") + b"\n")
    return out.getvalue()


def publish_rejects(snapshot: Snapshot, rejected: list[Rejected], blocks: str | None) -> S3Object:
    """The reject file lies beside the object, under `<key>.rejected/`."""
    run = flow_run.id or f"by-hand-{snapshot.sha256[:12]}"
    target = S3Object(snapshot.object.bucket, f"{snapshot.object.key}{REJECTS}{run}.csv")
    body = reject_file(read_header(snapshot.path), rejected)
    with s3_access(target, blocks) as client:
        client.put_object(Bucket=target.bucket, Key=target.key, Body=body, ContentType="text/csv; charset=utf-8")
    return target


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
