"""Leavers: members of the snapshot's department who are in the table and no longer in the LMS.

The LMS tells of nobody who left; absence from a complete snapshot is all there is. So only a proved
snapshot, only its own department, and never more than a ceiling.
"""

from psycopg2.extensions import cursor as Cursor

from tasks.database import execute, one_row
from tasks.errors import SchemaMismatch, TooManyDepartures
from tasks.options import LoadOptions, OnDeparture, allowed
from tasks.s3 import Snapshot
from tasks.schema import TableSchema

DEPARTED_AT = "departed_at"


def check_columns(table: TableSchema, on_departure: OnDeparture) -> None:
    """Raise SchemaMismatch where the table lacks a column that finding or marking leavers needs."""
    needed = {"keep": [], "mark": ["department_id", DEPARTED_AT], "delete": ["department_id"]}[on_departure]
    for name in needed:
        if table.column(name) is None:
            kind = "timestamptz" if name == DEPARTED_AT else "uuid"
            raise SchemaMismatch(
                f"{table.quoted} has no column {name}, which on_departure {on_departure} needs. "
                f"Add it: ALTER TABLE {table.quoted} ADD COLUMN {name} {kind}."
            )


def depart(
    cursor: Cursor,
    table: TableSchema,
    snapshot: Snapshot,
    options: LoadOptions,
    rejected_keys: list[str],
) -> int:
    """Mark or delete the leavers; how many they were.

    Raises:
        TooManyDepartures: they are more than `max_departures` of those present.
    """
    if options.on_departure == "keep" or snapshot.is_plain:
        return 0
    values = {
        "department_id": snapshot.department_id,
        "snapshot_at": snapshot.snapshot_at,
        "rejected": [key.lower() for key in rejected_keys],
    }
    marks = options.on_departure == "mark"
    execute(cursor, "absent", values, table=table.quoted, present=f"AND t.{DEPARTED_AT} IS NULL" if marks else "")
    present, absent = one_row(cursor)
    if absent > allowed(options.max_departures, present):
        raise TooManyDepartures(
            f"department {snapshot.department_id}: expected at most {options.max_departures} of {present} members to "
            f"have left, found {absent} absent from {snapshot.object}. Nothing was changed. If so many did leave, run "
            "once with a higher max_departures."
        )
    if absent:
        execute(cursor, "mark_departed" if marks else "delete_departed", values, table=table.quoted)
    return int(absent)
