"""The read-back before the commit: each row that was to be written is looked up, and each loaded column compared."""

from collections import Counter
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor

from tasks.database import execute, literal, quoted
from tasks.plan import Merge
from tasks.reasons import DROPPED, Reasons


@dataclass
class ReadBack:
    """What the table holds of the rows that were to be written. Every number is counted, none is a difference."""

    inserted: int = 0
    updated: int = 0
    returned: int = 0
    kept: int = 0
    """Rows that another session made newer meanwhile, and that stay so."""
    altered: int = 0
    """Rows among the inserted and updated whose values the table's own trigger replaced."""
    altered_columns: Counter[str] = field(default_factory=Counter)
    dropped: Reasons = field(default_factory=dict)
    """Rows that are not in the table, or that it left as they were, without an error."""

    def count(self, is_new: bool, rows: int, returned: int) -> None:
        """Count rows that are in the table."""
        self.inserted += rows if is_new else 0
        self.updated += 0 if is_new else rows
        self.returned += returned


def read_back(cursor: Cursor, merge: Merge, expected: int) -> ReadBack:
    """Look up the rows of `pg_temp.changes`, of which there are `expected`."""
    found = ReadBack()
    if not expected:
        return found
    differs = merge.differs(read_back=True)
    execute(cursor, "read_back", **merge.target, differs=differs)
    for is_new, rows, returned in cursor.fetchall():
        found.count(is_new, rows, returned)
    if found.inserted + found.updated == expected:
        return found
    parts = {"is_newer": merge.newer() or "false", "altered": altered_columns(merge), "differs": differs}
    execute(cursor, "read_back_others", **merge.target, **parts)
    for record, is_new, returns, outcome, columns in cursor.fetchall():
        if outcome == "altered":
            found.count(is_new, 1, int(returns))
            found.altered += 1
            found.altered_columns.update(columns)
        elif outcome == "newer":
            found.kept += 1
        else:
            found.dropped[record] = ("", DROPPED)
    return found


def altered_columns(merge: Merge) -> str:
    """SQL for the names of the columns in which the table differs from what was staged."""
    columns = [column for column in merge.compared if not (merge.without_new and column.is_new)]
    differing = ((c.name, c.differs_from(f"t.{quoted(c.name)}")) for c in columns)
    return ", ".join(f"CASE WHEN {differs} THEN {literal(name)} END" for name, differs in differing) or "NULL"
