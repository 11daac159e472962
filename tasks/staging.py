"""The file's rows, cast and checked, in a temporary staging table; those that cannot be, set aside.

Rows go in by COPY, a chunk in a savepoint. A chunk that PostgreSQL refuses names the line: the rows
before it are copied, it is rejected, the rest follows. So ten bad rows cost ten small chunks, and no
bad row costs nothing.
"""

import io
import re
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate

import psycopg2
import pyarrow as pa
from psycopg2.extensions import cursor as Cursor

from tasks.align import Alignment
from tasks.columns import KEY
from tasks.database import is_about_a_row, quoted, without_values
from tasks.errors import ObjectInvalid, TooManyRejected
from tasks.records import Chunk, Record, read_chunks
from tasks.s3 import Snapshot
from tasks.shapes import misshapen_rows

STAGING = "pg_temp.staging"
BAD_FILE_STATES = {"22P04", "22021"}  # a wrong number of fields; bytes that are not UTF-8


@dataclass(frozen=True)
class Rejected:
    """One row that was refused: where it lies, why, and as it came."""

    record: int
    """From 1, below the header."""
    line: int
    column: str
    reason: str
    """Safe to log: it holds no value."""
    key: str
    data: bytes = field(repr=False)


@dataclass
class Staged:
    """What went into the staging table, and what did not."""

    alignment: Alignment
    max_rejected: int
    rows: int = 0
    """Records read, rejected ones included."""
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, source: Record, column: str, reason: str) -> None:
        """Set the next row aside.

        Raises:
            TooManyRejected: there are now more than allowed; the rest need not be read.
        """
        self.rows += 1
        names = [column.name for column in self.alignment.columns]
        key = dict(zip(names, source.fields(), strict=False)).get(KEY, "")
        self.rejected.append(Rejected(self.rows, source.line, column, reason, key, source.data))
        if len(self.rejected) > self.max_rejected:
            raise TooManyRejected(
                f"expected at most {self.max_rejected} rows that cannot be loaded, found more within the first "
                f"{self.rows}: {summary(self.rejected)}. Nothing was changed. Mend the rows or the table, or raise "
                "max_rejected (--max-rejected 500, --max-rejected 5%)."
            )


def summary(rejected: list[Rejected], most: int = 5) -> str:
    """The first of each kind of rejection and how many there are of it: `line 7, gender: expected … (3 rows)`."""
    kinds: dict[tuple[str, str], list[Rejected]] = {}
    for row in rejected:
        kinds.setdefault((row.column, row.reason), []).append(row)
    told = [
        f"line {rows[0].line}, {column or 'row'}: {reason}" + (f" ({len(rows)} rows)" if len(rows) > 1 else "")
        for (column, reason), rows in kinds.items()
    ]
    return "; ".join(told[:most]) + (f"; and {len(told) - most} more kinds" if len(told) > most else "")


def stage(cursor: Cursor, snapshot: Snapshot, alignment: Alignment, max_rejected: int) -> Staged:
    """Every row of the file is in the staging table, or among the rejected.

    Raises:
        ObjectInvalid: a row has the wrong number of fields, a quote is left open, bytes are not UTF-8,
            or there are not as many rows as the metadata says. Names the line.
        TooManyRejected: more than `max_rejected` rows were refused.
    """
    cursor.execute(staging_ddl(alignment))
    staged = Staged(alignment, max_rejected)
    for chunk in read_chunks(snapshot.path):
        stage_chunk(cursor, chunk, staged)
    if snapshot.rows not in (None, staged.rows):
        raise ObjectInvalid(
            f"{snapshot.object}: expected {snapshot.rows} rows, as its metadata says, found {staged.rows}. "
            "Nothing was loaded; extract it again."
        )
    return staged


def staging_ddl(alignment: Alignment) -> str:
    """The staging table: `_record`, numbered as in the file, and the file's columns as the plan casts them.

    It has the table's own NOT NULL and CHECK constraints, so that COPY names the row that breaks one.
    """
    columns = ["_record bigserial"]
    for column in alignment.columns:
        required = " NOT NULL" if column.required or column.name == KEY else ""
        columns.append(f"{quoted(column.name)} {column.staged_as}{required}")
    for number, column in enumerate(alignment.columns):
        if column.check is not None:
            columns.append(f"CONSTRAINT check_{number} CHECK ({column.check})")
    for number, check in enumerate(alignment.checks):
        columns.append(f"CONSTRAINT table_check_{number} CHECK ({check.expression})")
    return f"CREATE TEMPORARY TABLE staging ({', '.join(columns)}) ON COMMIT DROP"


def stage_chunk(cursor: Cursor, chunk: Chunk, staged: Staged) -> None:
    """Copy one chunk, but for the rows that pandas or PostgreSQL refuses."""
    try:
        misshapen = misshapen_rows(chunk, staged.alignment)
        if not misshapen:
            staged.rows += copy(cursor, chunk.data, staged.rows + 1, staged.alignment, chunk.first_line)
            return
    except pa.ArrowInvalid:
        raise malformed(chunk, len(staged.alignment.columns)) from None
    except RowRefused:
        misshapen = {}
    records = chunk.records()
    start = 0
    for index in [*sorted(misshapen), len(records)]:
        copy_around_refused(cursor, records[start:index], staged)
        if index < len(records):
            staged.reject(records[index], *misshapen[index])
        start = index + 1


def malformed(chunk: Chunk, width: int) -> ObjectInvalid:
    """Which of a chunk's records has another number of fields, or is not UTF-8."""
    line = chunk.first_line
    for record in chunk.records():
        line = record.line
        try:
            record.data.decode()
        except UnicodeDecodeError:
            break
        if len(record.fields()) != width:
            break
    return ObjectInvalid(
        f"line {line}: expected {width} CSV fields in UTF-8, found otherwise. Nothing was loaded; extract it again."
    )


def copy_around_refused(cursor: Cursor, records: list[Record], staged: Staged) -> None:
    """Copy records, but for those that PostgreSQL refuses: split at each, go on behind it.

    A record is rejected only once it was refused alone; the line that PostgreSQL names is where to look first.
    """
    while records:
        data = b"".join(record.data for record in records)
        try:
            staged.rows += copy(cursor, data, staged.rows + 1, staged.alignment, records[0].line)
            return
        except RowRefused as refused:
            if len(records) == 1:
                staged.reject(records[0], refused.column, refused.reason)
                return
            index = record_at(records, refused.line)
        copy_around_refused(cursor, records[:index], staged)
        copy_around_refused(cursor, records[index : index + 1], staged)
        records = records[index + 1 :]


class RowRefused(Exception):
    """PostgreSQL refuses one row; `line` counts from 1 in the data that was sent."""

    def __init__(self, line: int, column: str, reason: str) -> None:
        super().__init__(line, column, reason)
        self.line, self.column, self.reason = line, column, reason


def copy(cursor: Cursor, data: bytes, first_record: int, alignment: Alignment, first_line: int) -> int:
    """Copy whole records, numbered from `first_record`; how many they were. All or none.

    Raises:
        RowRefused: a cast or a constraint refuses a row.
        ObjectInvalid: the data is not CSV of that many fields, in UTF-8.
    """
    if not data:
        return 0
    columns = ", ".join(quoted(column.name) for column in alignment.columns)
    cursor.execute(
        "SAVEPOINT copying; SELECT setval(pg_get_serial_sequence(%s, '_record'), %s, false)", (STAGING, first_record)
    )
    try:
        cursor.copy_expert(f"COPY {STAGING} ({columns}) FROM STDIN (FORMAT csv)", io.BytesIO(data), size=1 << 20)
    except psycopg2.Error as error:
        if not is_about_a_row(error):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT copying")
        raise refusal(error, alignment, first_line) from None
    rows = cursor.rowcount
    cursor.execute("RELEASE SAVEPOINT copying")
    return rows


def refusal(error: psycopg2.Error, alignment: Alignment, first_line: int) -> RowRefused | ObjectInvalid:
    """Which row PostgreSQL refused, by `COPY staging, line 3, column gender: …`, and why."""
    context = _CONTEXT.search(error.diag.context or "")
    line = int(context["line"]) if context else 1
    if error.pgcode in BAD_FILE_STATES:
        return ObjectInvalid(
            f"line {first_line + line - 1}: expected {len(alignment.columns)} CSV fields in UTF-8, found otherwise. "
            "Nothing was loaded; extract it again."
        )
    if (broken := _CHECK.fullmatch(error.diag.constraint_name or "")) is not None:
        number = int(broken["number"])
        if broken["table"]:
            check = alignment.checks[number]
            return RowRefused(line, ", ".join(check.columns), f'breaks the table\'s check "{check.name}"')
        column = alignment.columns[number]
        return RowRefused(line, column.name, f"expected {column.expected}")
    column_name = error.diag.column_name or (context["column"] if context else None) or ""
    return RowRefused(line, column_name, without_values(error))


def record_at(records: list[Record], line: int) -> int:
    """The index of the record in which PostgreSQL's count of lines is at `line`, from 1 where the first record begins.

    Inside quotes it counts what ends the file's lines (CR alone for CR LF), and in the first record, whose end tells
    it which that is, CR. Source: CopyReadLineText in its copyfromparse.c.

    >>> record_at([Record(2, b'"a\\n\\nb"\\n'), Record(5, b'"c\\nd"\\n'), Record(7, b"e\\n")], 3)
    1
    """
    first, *others = (record.data for record in records)
    line_end = b"\r" if first.endswith(b"\r\n") else b"\n"
    counted = accumulate([1 + first.removesuffix(b"\r\n").count(b"\r"), *(data.count(line_end) for data in others)])
    return min(bisect_left(list(counted), line), len(records) - 1)


_CONTEXT = re.compile(r"^COPY staging, line (?P<line>\d+)(?:, column (?P<column>.+?)(?::|$))?", re.MULTILINE)
_CHECK = re.compile(r"(?P<table>table_)?check_(?P<number>\d+)")
