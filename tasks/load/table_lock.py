"""One load of a table at a time: an advisory lock, held until the transaction ends."""

import time

from psycopg2.extensions import cursor as Cursor

from tasks.errors import LoadFailed
from tasks.load.database import one_row
from tasks.load.schema import TableSchema
from tasks.log import run_logger

# An advisory lock is named by a number: 64 bits of a hash of the table's name.
LOCK_TABLE = "SELECT pg_try_advisory_xact_lock(hashtextextended('department-members:' || %s, 0))"
LONGEST_WAIT_S = 900.0


def lock_table(cursor: Cursor, table: TableSchema) -> None:
    """Hold the table's advisory lock until the transaction ends.

    Polls instead of waiting inside the server, where a signal could not interrupt the run.

    Raises:
        LoadFailed: another load held the lock for the whole waiting time.
    """
    deadline = time.monotonic() + LONGEST_WAIT_S
    logged = False
    while True:
        cursor.execute(LOCK_TABLE, (table.quoted,))
        if one_row(cursor)[0]:
            return
        if time.monotonic() > deadline:
            raise LoadFailed(
                f"{table.quoted}: another load has held the table for {LONGEST_WAIT_S / 60:.0f} minutes. Nothing was "
                "changed. Look for a stuck run (pg_stat_activity, application_name department-members), then run again."
            )
        if not logged:
            run_logger().info("another load of %s is in progress; waiting for it to finish", table.quoted)
            logged = True
        time.sleep(0.5)
