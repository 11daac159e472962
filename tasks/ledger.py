"""The load ledger `lms_loads`: which snapshots were applied, so that each is applied once and in order."""

from typing import Any

from prefect.runtime import flow_run
from psycopg2.extensions import cursor as Cursor

from tasks.database import execute, one_row, quoted
from tasks.s3 import Snapshot
from tasks.schema import TableSchema

LEDGER = "lms_loads"


def open_ledger(cursor: Cursor, table: TableSchema) -> None:
    """The ledger exists in the table's schema."""
    ledger = quoted(table.schema, LEDGER)
    cursor.execute("SELECT to_regclass(%s) IS NULL", (ledger,))
    if one_row(cursor)[0]:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (ledger,))
        cursor.execute("SELECT to_regclass(%s) IS NULL", (ledger,))
        if one_row(cursor)[0]:
            execute(cursor, "ledger_table", ledger=ledger)


def reason_to_skip(cursor: Cursor, table: TableSchema, snapshot: Snapshot) -> str | None:
    """Why this snapshot must not be applied again, or no more; None if it is new."""
    execute(cursor, "ledger_find", identity(table, snapshot), ledger=quoted(table.schema, LEDGER))
    load_id, newest = one_row(cursor)
    if load_id is not None:
        return f"already loaded (load {load_id} in {LEDGER})"
    if snapshot.snapshot_at and newest and snapshot.snapshot_at < newest:
        return f"older than the snapshot of {newest.isoformat()}, which was applied already"
    return None


def record_load(
    cursor: Cursor, table: TableSchema, snapshot: Snapshot, counts: dict[str, int], rejects_key: str | None
) -> None:
    """The load has its row in the ledger, to be committed with its data."""
    run = {"rejects_key": rejects_key, "flow_run_id": flow_run.id, "sha256": snapshot.sha256}
    values = {**identity(table, snapshot), **counts, **run}
    execute(cursor, "ledger_insert", values, ledger=quoted(table.schema, LEDGER))


def identity(table: TableSchema, snapshot: Snapshot) -> dict[str, Any]:
    """What tells one snapshot, and the table it goes to, from every other."""
    return {
        "table_name": table.table,
        "bucket": snapshot.object.bucket,
        "object_key": snapshot.object.key,
        "version_id": snapshot.object.version_id,
        "etag": snapshot.etag,
        "department_id": snapshot.department_id,
        "snapshot_at": snapshot.snapshot_at,
    }
