"""The load ledger `lms_loads`: which snapshots were loaded, so that each is loaded once and in order."""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prefect.runtime import flow_run
from psycopg2.errors import InsufficientPrivilege, NotNullViolation
from psycopg2.extensions import cursor as Cursor

from tasks.errors import AuthError, ObjectInvalid, SchemaMismatch
from tasks.load.database import execute, literal, one_row, quoted, savepoint, statement
from tasks.load.schema import TableSchema
from tasks.log import run_logger
from tasks.s3 import Snapshot
from tasks.streams import MEMBERS

LEDGER = "lms_loads"
# needs ledger_table.sql as it is laid out: four spaces, name, type, one column per line
COLUMN = re.compile(r"^    ([a-z0-9_]+) +(.+?),?$", re.MULTILINE)  # a column's line in ledger_table.sql
STREAM_COLUMNS = {"stream", "scope_id"}
CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Committed:
    """A load that is in the ledger already: its counts by their names in `Loaded`, and where its rejects are."""

    load_id: int
    counts: dict[str, int]
    rejects_key: str | None


def open_ledger(cursor: Cursor, table: TableSchema) -> None:
    """Create the ledger in the table's schema on first use; a ledger that exists needs SELECT and INSERT only.

    A ledger from an earlier version knows only department members, and keeps working for them unchanged.

    Raises:
        AuthError: there is no ledger and this user may not create it. Names the SQL to run.
        SchemaMismatch: the ledger lacks columns. Names the SQL to run.
    """
    ledger = quoted(table.schema, LEDGER)
    execute(cursor, "ledger_columns", {"ledger": ledger})
    [columns] = one_row(cursor)
    if columns is None:
        # loads of two tables may both find no ledger: wait for the other, then look again
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (ledger,))
        execute(cursor, "ledger_columns", {"ledger": ledger})
        [columns] = one_row(cursor)
    if columns is None:
        create_ledger(cursor, ledger)
        return
    optional = STREAM_COLUMNS if table.stream is MEMBERS else set[str]()
    missing = [(name, kind) for name, kind in COLUMN.findall(statement("ledger_table")) if name not in columns]
    if missing := [(name, kind) for name, kind in missing if name not in optional]:
        add_to_ledger(cursor, ledger, missing)


def create_ledger(cursor: Cursor, ledger: str) -> None:
    """Create the table."""
    try:
        execute(cursor, "ledger_table", ledger=ledger)
    except InsufficientPrivilege:
        user = quoted(cursor.connection.info.user)
        raise AuthError(
            f"{ledger}: expected the load ledger, or permission to create it; found neither. Nothing was changed. As "
            f"the schema's owner, run tasks/load/sql/ledger_table.sql with {ledger} in place of the name in braces, "
            f"then: "
            f"GRANT SELECT, INSERT ON {ledger} TO {user};"
        ) from None


def add_to_ledger(cursor: Cursor, ledger: str, missing: list[tuple[str, str]]) -> None:
    """Add what only streams other than members need; raise SchemaMismatch for anything else or if not permitted."""
    # Without NOT NULL, which the rows that are there already would break; every load fills the column.
    added = ", ".join(f"ADD COLUMN {name} {definition.removesuffix(' NOT NULL')}" for name, definition in missing)
    alter = f"ALTER TABLE {ledger} {added}"
    if {name for name, _ in missing} <= STREAM_COLUMNS:
        with suppress(InsufficientPrivilege), savepoint(cursor):
            cursor.execute(alter)
            return
    raise SchemaMismatch(
        f"{ledger}: expected the columns of tasks/load/sql/ledger_table.sql, but it lacks "
        f"{', '.join(name for name, _ in missing)}. Nothing was changed. As the ledger's owner, run: {alter};"
    )


def knows_streams(cursor: Cursor, ledger: str) -> bool:
    """Whether the ledger has the columns that distinguish streams."""
    execute(cursor, "ledger_columns", {"ledger": ledger})
    [columns] = one_row(cursor)
    return columns is not None and set(columns) >= STREAM_COLUMNS


def check_clock(cursor: Cursor, snapshot: Snapshot) -> None:
    """Raise ObjectInvalid for a snapshot from the future, which would make every later one look old.

    The database's clock decides, with a tolerance of five minutes: the extract's machine has a clock of its own.
    """
    if snapshot.snapshot_at is None:
        return
    execute(cursor, "ledger_clock")
    [now] = one_row(cursor)
    if snapshot.snapshot_at > now + CLOCK_TOLERANCE:
        raise ObjectInvalid(
            f"{snapshot.object}: expected a snapshot-at at most five minutes ahead of the database's clock "
            f"({now.isoformat(timespec='seconds')}), found {snapshot.snapshot_at.isoformat(timespec='seconds')}. "
            "Nothing was changed. Correct the clock of the machine that runs the extract, or of the database, and "
            "extract again."
        )


@dataclass(frozen=True)
class EarlierLoads:
    """What the ledger says of a snapshot that is to be loaded."""

    load_id: int | None = None
    """The load that loaded it."""
    newer: datetime | None = None
    """The time of the newest snapshot of its scope that was loaded, if that is newer."""

    @property
    def reason_to_skip(self) -> str | None:
        """Why the snapshot must not be loaded again, or after a newer one; None if it is new."""
        if self.load_id is not None:
            return f"already loaded (load {self.load_id} in {LEDGER})"
        if self.newer is not None:
            return f"older than the snapshot of {self.newer.isoformat()}, which was already loaded"
        return None


def find_earlier(cursor: Cursor, table: TableSchema, snapshot: Snapshot) -> EarlierLoads:
    """Whether this snapshot was loaded, or a newer one of its scope.

    A version is loaded once, ever. An object without a version was loaded if the newest load of its key had the same
    content and snapshot time, so a key that returns to an earlier content is loaded again.
    """
    ledger = quoted(table.schema, LEDGER)
    values = {**identity(table, snapshot), "clock_tolerance": CLOCK_TOLERANCE}
    scope = "coalesce(scope_id, department_id)" if knows_streams(cursor, ledger) else "department_id"
    execute(cursor, "ledger_find", values, ledger=ledger, scope=scope)
    load_id, newer, in_future = one_row(cursor)
    if in_future:
        run_logger().warning(
            "%s: ignored %d loads of %s with a snapshot_at more than five minutes in the future. As the ledger's "
            "owner, run: UPDATE %s SET snapshot_at = loaded_at WHERE snapshot_at > now() + interval '5 minutes';",
            *(ledger, in_future, table.quoted, ledger),
        )
    return EarlierLoads(load_id, newer)


def committed_by_this_run(cursor: Cursor, table: TableSchema, snapshot: Snapshot) -> Committed | None:
    """The load of this very object that this flow run committed before, or None.

    So a retry after a commit whose acknowledgement was lost reports what was loaded. A run retried later, in the UI
    say, finds its load too: it reports the same counts again and writes nothing, even with `replay`.
    """
    if flow_run.id is None:
        return None
    values = {**identity(table, snapshot), "flow_run_id": flow_run.id}
    execute(cursor, "ledger_committed", values, ledger=quoted(table.schema, LEDGER))
    row = cursor.fetchone()
    if row is None:
        return None
    load_id, rejects_key, *numbers = row
    # after load_id and rejects_key, in the order of ledger_committed.sql
    names = [column.name for column in (cursor.description or ())[2:]]
    return Committed(load_id, dict(zip(names, numbers, strict=True)), rejects_key)


def record_load(
    cursor: Cursor, table: TableSchema, snapshot: Snapshot, counts: dict[str, int], rejects_key: str | None
) -> int:
    """Write the load's row, to be committed with its data; returns its load_id.

    Raises:
        SchemaMismatch: the ledger wants a value that no load gives. Names the SQL to run.
    """
    ledger = quoted(table.schema, LEDGER)
    values = {**identity(table, snapshot), **counts, "rejects_key": rejects_key, "flow_run_id": flow_run.id}
    more = {"more_columns": "", "more_values": ""}
    if knows_streams(cursor, ledger):
        scope_id = literal(snapshot.scope.id) if snapshot.scope else "NULL"
        more = {"more_columns": ", stream, scope_id", "more_values": f", {literal(table.stream.name)}, {scope_id}"}
    try:
        execute(cursor, "ledger_insert", values, ledger=ledger, **more)
    except NotNullViolation as error:
        raise unfilled_column(ledger, str(error.diag.column_name)) from None
    [load_id] = one_row(cursor)
    if load_id is None:
        raise unfilled_column(ledger, "load_id")
    return int(load_id)


def unfilled_column(ledger: str, column: str) -> SchemaMismatch:
    """The error of a ledger with a column that neither a load nor a default fills, such as the load_id of a copy."""
    repair = f"ALTER TABLE {ledger} ALTER COLUMN {quoted(column)} DROP NOT NULL;"
    if column in ("load_id", "loaded_at"):
        repair = f"tasks/load/sql/ledger_repair.sql with {ledger} in place of the name in braces."
    return SchemaMismatch(
        f"{ledger}: expected column {quoted(column)} to have a default, as in tasks/load/sql/ledger_table.sql; found "
        f"none. Nothing was changed. As the ledger's owner, run {repair}"
    )


def identity(table: TableSchema, snapshot: Snapshot) -> dict[str, Any]:
    """What distinguishes one snapshot, and the table it goes to, from every other.

    S3 names every object of a bucket without versions, or with versions suspended, "null": that is no version.
    """
    version = snapshot.object.version_id
    return {
        "table_name": table.table,
        "bucket": snapshot.object.bucket,
        "object_key": snapshot.object.key,
        "version_id": None if version in ("", "null") else version,
        "etag": snapshot.etag,
        "sha256": snapshot.sha256,
        "scope_id": snapshot.scope.id if snapshot.scope else None,
        "department_id": snapshot.scope.id if snapshot.scope and table.stream is MEMBERS else None,
        "snapshot_at": snapshot.snapshot_at,
    }
