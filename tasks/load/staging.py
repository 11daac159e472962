"""Loads the file's rows into a temporary staging table, cast to the target's types; rejects rows that cannot be cast.

Rows go in by COPY, one chunk per savepoint. If PostgreSQL refuses a chunk, it names the line: the rows before it are
copied, that row is rejected, and the rest follow. So ten bad rows cost ten small chunks, and without bad rows there is
no extra cost.
"""

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg2
import pyarrow as pa
from psycopg2.extensions import cursor as Cursor

from tasks.errors import ObjectInvalid, TooManyRejected
from tasks.load.align import AlignedColumn, Alignment
from tasks.load.database import RowError, savepoint
from tasks.load.duplicates import note_rejected
from tasks.load.fingerprints import Fingerprints, settle
from tasks.load.prepare import FINGERPRINT, RECORD, copy_lines, prepared_chunks
from tasks.load.reasons import Reason, Reasons, reason_of
from tasks.load.records import read_chunks
from tasks.load.rejects import rejected_records, summary
from tasks.load.schema import TableSchema
from tasks.s3 import Snapshot

STAGING = "pg_temp.staging"
TEMP_BUFFERS = "SET LOCAL temp_buffers = '128MB'"
"""Keeps the staged rows of some 100,000 members in memory, which saves an eighth of the load's time. The server refuses
this in a session that has already used temporary tables, such as one from a connection pooler."""


@dataclass
class Staged:
    """What went into the staging table, and what did not."""

    table: TableSchema
    alignment: Alignment
    fingerprints: Fingerprints | None = None
    """Decides which records are left out because the table already holds them."""
    read: int = 0
    rejected: Reasons = field(default_factory=dict)
    nameless: int = 0
    """Rejected rows whose key cannot be read."""
    cut: Counter[str] = field(default_factory=Counter)
    """Column name to how many values lost digits of a second."""
    filled: Counter[str] = field(default_factory=Counter)
    """Column name to how many values of the file are not null."""

    @property
    def left_out(self) -> int:
        """Records of the file that are not in the staging table, since the target table already holds them."""
        return self.fingerprints.left_out if self.fingerprints else 0


def stage(
    cursor: Cursor,
    snapshot: Snapshot,
    table: TableSchema,
    alignment: Alignment,
    max_rejected: int,
    fingerprints: Fingerprints | None,
) -> Staged:
    """Stage or reject every row of the file, except those that the table already holds.

    Raises:
        ObjectInvalid: the file is not strict CSV (see `tasks.load.records`), or its row count contradicts its metadata.
        TooManyRejected: more than `max_rejected` rows were refused.
    """
    with suppress(RowError), savepoint(cursor):
        cursor.execute(TEMP_BUFFERS)
    cursor.execute(staging_ddl(alignment, has_fingerprints=fingerprints is not None))
    staged = Staged(table, alignment, fingerprints)
    fill(cursor, snapshot, staged, max_rejected)
    rows = staged.read + staged.left_out
    if snapshot.rows not in (None, rows):
        raise ObjectInvalid(
            f"{snapshot.object}: expected {snapshot.rows} rows, as its metadata says, found {rows}. Nothing was "
            "loaded; extract again."
        )
    staged.nameless = note_rejected(cursor, alignment, rejected_records(snapshot.path, staged.rejected, alignment))
    if fingerprints is not None and settle(cursor, fingerprints, alignment):
        # known records that share their key with another were left out, and are staged after all
        before = set(staged.rejected)
        fill(cursor, snapshot, staged, max_rejected)
        rejected = {record: reason for record, reason in staged.rejected.items() if record not in before}
        staged.nameless += note_rejected(cursor, alignment, rejected_records(snapshot.path, rejected, alignment))
    return staged


def fill(cursor: Cursor, snapshot: Snapshot, staged: Staged, max_rejected: int) -> None:
    """Stage the rows of the file that the fingerprints ask for; without fingerprints, all of them."""
    alignment = staged.alignment
    chunks = read_chunks(snapshot.path, len(alignment.columns), sieve=staged.fingerprints)
    check_nulls = not staged.table.rewrites_rows
    own_json = None if snapshot.is_plain else staged.table.stream.custom_fields_column
    for prepared in prepared_chunks(chunks, alignment, check_nulls=check_nulls, own_json=own_json):
        staged.read += prepared.read
        staged.rejected |= prepared.rejected
        staged.cut += prepared.cut
        staged.filled += prepared.filled
        check_limit(snapshot, alignment, staged.rejected, max_rejected)
        try:
            copy(cursor, prepared.rows.column_names, prepared.lines, staged)
        except RowRefused as refused:
            copy_around_refused(cursor, prepared.rows, staged, refused)
            check_limit(snapshot, alignment, staged.rejected, max_rejected)


def check_limit(snapshot: Snapshot, alignment: Alignment, reasons: Reasons, limit: int) -> None:
    """Raise TooManyRejected, with the first reasons, if more rows were refused than allowed."""
    if len(reasons) > limit:
        raise TooManyRejected(
            f"{snapshot.object}: expected at most {limit} rejected rows, found {len(reasons)} or more: "
            f"{summary(rejected_records(snapshot.path, reasons, alignment))}. Nothing was changed. Correct the rows or "
            "the table, or raise max_rejected (--max-rejected 500, --max-rejected 5%)."
        )


def staging_ddl(alignment: Alignment, *, has_fingerprints: bool) -> str:
    """The staging table: `_record`, the row's number in the file, and the staged columns as the plan casts them."""
    own = [f"{RECORD} integer", *([f"{FINGERPRINT} uuid"] if has_fingerprints else [])]
    columns = [*own, *(f"{column.staged} {column.staged_as}" for column in alignment.staged)]
    # named after its column, so that PostgreSQL's error says which check failed
    checks = [f"CONSTRAINT {c.staged} CHECK ({c.cast_check})" for c in alignment.staged if c.cast_check is not None]
    return f"CREATE TEMPORARY TABLE staging ({', '.join([*columns, *checks])}) ON COMMIT DROP"


class RowRefused(Exception):
    """PostgreSQL refused a row; `line` counts from 1 in the data that was sent."""

    def __init__(self, line: int, reason: Reason) -> None:
        super().__init__(line, reason)
        self.line, self.reason = line, reason


def copy(cursor: Cursor, columns: list[str], data: pa.Buffer, staged: Staged) -> None:
    """Copy these lines of these columns; all or none.

    Raises:
        RowRefused: a cast or a cast check refused a row.
    """
    if not data.size:
        return
    try:
        with savepoint(cursor):
            # psycopg2 would read 8 KB at a time
            cursor.copy_expert(f"COPY {STAGING} ({', '.join(columns)}) FROM STDIN", pa.BufferReader(data), size=1 << 20)
    except RowError as refused:
        raise refusal(refused.error, staged) from None


def copy_around_refused(cursor: Cursor, rows: pa.Table, staged: Staged, refused: RowRefused) -> None:
    """Copy all rows except those that PostgreSQL refuses; `refused` is the first. Splits the rows at each refused one.

    A row is rejected only if it was refused on its own; the line that PostgreSQL names is only where to look first.
    """
    while rows.num_rows:
        if rows.num_rows == 1:
            record = rows.column(RECORD)[0].as_py()
            staged.rejected[record] = refused.reason if refused.reason[0] else blamed(cursor, rows, staged, refused)
            return
        index = refused.line - 1
        for part in (rows.slice(0, index), rows.slice(index, 1)):
            try:
                copy(cursor, rows.column_names, copy_lines(part), staged)
            except RowRefused as again:
                copy_around_refused(cursor, part, staged, again)
        rows = rows.slice(index + 1)
        try:
            copy(cursor, rows.column_names, copy_lines(rows), staged)
            return
        except RowRefused as again:
            refused = again


def refusal(error: psycopg2.Error, staged: Staged) -> RowRefused:
    """Which row PostgreSQL refused, by `COPY staging, line 3, column c7: …`, and why."""
    context = COPY_CONTEXT.search(error.diag.context or "")
    by_name = {column.staged: column for column in staged.alignment.staged}
    failed = by_name.get(error.diag.constraint_name or "") if error.diag.table_name == "staging" else None
    if failed is not None:
        reason = failed.name, f"expected {failed.format.expected}"
    else:
        column = by_name.get((context and context["column"]) or "")
        reason = reason_of(error, staged.table, column.name if column else "")
    return RowRefused(int(context["line"]) if context else 1, reason)


def blamed(cursor: Cursor, row: pa.Table, staged: Staged, refused: RowRefused) -> Reason:
    """The reason for a row whose cast failed in a cast check, where PostgreSQL names no column: try each one alone."""
    for column in staged.alignment.staged:
        if column.cast_check is None:
            continue
        if error := cast_error(cursor, column, row.column(column.staged)[0].as_py()):
            by_domain = error.diag.datatype_name and str(error.pgcode).startswith("23")
            expected = column.name, f"expected {column.format.expected}"
            return reason_of(error, staged.table, column.name) if by_domain else expected
    return refused.reason


def cast_error(cursor: Cursor, column: AlignedColumn, text: str | None) -> psycopg2.Error | None:
    """The error that the column's cast check raises for a text."""
    cast_check = str(column.cast_check).replace("%", "%%")
    try:
        with savepoint(cursor):
            cursor.execute(
                f"SELECT {cast_check} FROM (SELECT %s::{column.staged_as} AS {column.staged}) AS one", (text,)
            )
    except RowError as refused:
        return refused.error
    return None


# `COPY staging, line 3, column c7: …`, in whatever language the server speaks
COPY_CONTEXT = re.compile(
    r"^(?=.*COPY)[^\n:：]*?staging[^\n:：\d]*(?P<line>\d+)(?:[^\n:：]*?(?<![a-z0-9])(?P<column>[cx]\d+))?", re.MULTILINE
)
