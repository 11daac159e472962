"""The load ledger `lms_loads`: which snapshots were applied, so that each is applied once and in order.

python -m tasks.ledger --last 10
"""

import argparse
import logging
import sys
from typing import Any

from prefect.runtime import flow_run
from psycopg2.extensions import cursor as Cursor

from tasks.database import execute, one_row, quoted, transaction
from tasks.errors import PipelineError
from tasks.s3 import Snapshot
from tasks.schema import TableSchema
from tasks.settings import Resolver, load_settings

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


def last_loads(schema: str, count: int, blocks: str | None) -> list[dict[str, Any]]:
    """The last loads of every table in a schema, newest first."""
    with transaction(blocks) as cursor:
        execute(cursor, "ledger_last", {"count": count}, ledger=quoted(schema, LEDGER))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def main() -> int:
    """Print the last loads as a table."""
    parser = argparse.ArgumentParser(prog="python -m tasks.ledger", description="Show the last loads.")
    parser.add_argument("--last", type=int, default=10, metavar="N")
    parser.add_argument("--schema-name", help="else BUSINESS_TRACKING_SCHEMA")
    parser.add_argument("--blocks", help="the name under which the blocks are saved; else the environment")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    try:
        loads = last_loads(
            load_settings(Resolver(options.blocks), options.schema_name, None).schema, options.last, options.blocks
        )
    except PipelineError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    rows = [list(loads[0]), *([str(value) for value in load.values()] for load in loads)] if loads else [["no loads"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        sys.stdout.write("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
