"""The staged rows beside the stored ones: which are new, which have changed, which are the same."""

from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from tasks.load.database import execute, one_row
from tasks.load.plan import Merge


@dataclass(frozen=True)
class Compared:
    """How many of the staged rows are new, have changed (some of whom return), or are the same as the stored ones."""

    new: int
    changed: int
    returned: int
    same: int

    @property
    def to_write(self) -> int:
        """How many rows are to be written."""
        return self.new + self.changed

    @property
    def is_all_new(self) -> bool:
        """Whether there are no others."""
        return self.changed == self.same == 0

    @property
    def is_all_changed(self) -> bool:
        """Whether there are no others, and nobody returns."""
        return self.new == self.returned == self.same == 0


def compare(cursor: Cursor, merge: Merge) -> Compared:
    """Fill `pg_temp.changes` with the staged rows that are new or changed."""
    # The primary key shows the planner that a record exists once; else it would sort whole rows to join them.
    columns = "_record integer PRIMARY KEY, is_new boolean, returns boolean, emptied integer[]"
    cursor.execute(f"CREATE TEMPORARY TABLE changes ({columns}) ON COMMIT DROP")
    execute(cursor, "compare", **merge.compare_parts())
    compared = Compared(*one_row(cursor))
    # if no row is the same, the upsert reads the staging table alone (merge_rows)
    if compared.to_write and compared.same:
        # autovacuum cannot see temporary tables, so nobody else analyses them
        cursor.execute("ANALYZE pg_temp.changes (_record); ANALYZE pg_temp.staging (_record)")
    return compared
