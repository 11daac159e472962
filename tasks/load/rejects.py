"""The reject file: the original rows that could not be loaded, each with the reason."""

import io
import re
from dataclasses import dataclass, field
from pathlib import Path

from prefect.runtime import flow_run

from tasks.columns import REJECT_COLUMNS
from tasks.load.align import Alignment
from tasks.load.reasons import Reason, Reasons
from tasks.load.records import read_chunks, read_header
from tasks.s3 import REJECTS, S3Object, Snapshot, s3_access

_FIELD = rb'(?:"(?:[^"]|"")*"|[^,"\r\n]*),'
# The reject file's own fields, cut off a row's bytes so that the rest stays as it was written.
_REJECT_FIELDS = re.compile(_FIELD * len(REJECT_COLUMNS))


@dataclass(frozen=True)
class Rejected:
    """One rejected row: where it is, why it was rejected, and its original bytes."""

    record: int
    """From 1, below the header."""
    line: int
    column: str
    reason: str
    """Safe to log: it contains no value."""
    key: str | None = field(repr=False)
    edited: str | None = field(repr=False)
    data: bytes = field(repr=False)


def rejected_records(path: Path, reasons: Reasons, alignment: Alignment) -> list[Rejected]:
    """The rejected records, found again in the file."""
    found: list[Rejected] = []
    wanted = sorted(reasons)
    for chunk in read_chunks(path, len(alignment.columns)) if wanted else ():
        behind = chunk.first_record + chunk.table.num_rows
        here = [number for number in wanted if chunk.first_record <= number < behind]
        records = chunk.records() if here else []
        for number in here:
            record = records[number - chunk.first_record]
            fields = record.fields()
            edited = fields[alignment.edited.number] if alignment.edited else None
            found.append(
                Rejected(number, record.line, *reasons[number], fields[alignment.key.number], edited, record.data)
            )
    return found


def summary(rejected: list[Rejected], most: int = 5) -> str:
    """The first of each kind of rejection and how many there are of it: `line 7, gender: expected … (3 rows)`."""
    kinds: dict[Reason, list[Rejected]] = {}
    for row in rejected:
        kinds.setdefault((row.column, row.reason), []).append(row)
    found = [
        f"line {rows[0].line}, {column or 'row'}: {reason}" + (f" ({len(rows)} rows)" if len(rows) > 1 else "")
        for (column, reason), rows in kinds.items()
    ]
    return "; ".join(found[:most]) + (f"; and {len(found) - most} more kinds" if len(found) > most else "")


def reject_file(header: list[str], rejected: list[Rejected]) -> bytes:
    """CSV: line, column and reason before each row's own bytes.

    If the loaded file was itself a corrected reject file, its three reject columns are replaced.
    """
    again = tuple(header[: len(REJECT_COLUMNS)]) == REJECT_COLUMNS
    names = header[len(REJECT_COLUMNS) :] if again else header
    out = io.BytesIO()
    out.write(",".join(map(_quoted, [*REJECT_COLUMNS, *names])).encode() + b"\n")
    for row in rejected:
        data = _REJECT_FIELDS.sub(b"", row.data, count=1) if again else row.data
        out.write(f"{row.line},{_quoted(row.column)},{_quoted(row.reason)},".encode() + data.rstrip(b"\r\n") + b"\n")
    return out.getvalue()


def publish_rejects(snapshot: Snapshot, rejected: list[Rejected], blocks: str | None) -> S3Object:
    """Write the reject file next to the object, under `<key>.rejected/`."""
    # outside of Prefect there is no run: then the same content replaces its own reject file
    run = flow_run.id or f"by-hand-{snapshot.sha256[:12]}"
    target = S3Object(snapshot.object.bucket, f"{snapshot.object.key}{REJECTS}{run}.csv")
    body = reject_file(read_header(snapshot.path), rejected)
    with s3_access(target, blocks) as client:
        client.put_object(Bucket=target.bucket, Key=target.key, Body=body, ContentType="text/csv; charset=utf-8")
    return target


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
