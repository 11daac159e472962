"""The read-back before the commit: looks up each row that should have been written and compares every loaded column."""

from collections import Counter
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor

from tasks.errors import SchemaMismatch
from tasks.load.compare import Compared
from tasks.load.database import execute, literal, one_row, quoted
from tasks.load.fingerprints import Fingerprints, if_possible, record_parts
from tasks.load.plan import CHANGED, STAGED, Merge
from tasks.load.reasons import DROPPED, Reasons


@dataclass
class ReadBack:
    """What the table holds of the rows that were to be written."""

    inserted: int = 0
    updated: int = 0
    returned: int = 0
    unchanged: int = 0
    """Rows that were the same, or that another session made newer meanwhile."""
    altered: int = 0
    """Rows among these whose values the table's own trigger replaced."""
    altered_columns: Counter[str] = field(default_factory=Counter)
    unwritten: list[int] = field(default_factory=list)
    """Rows that the table did not accept: it dropped them, or another session had made them newer meanwhile."""
    dropped: Reasons = field(default_factory=dict)
    """Rows that are not in the table, or that it left as they were, without an error."""

    def count(self, is_new: bool, rows: int, returned: int) -> None:
        """Count rows that are in the table."""
        self.inserted += rows if is_new else 0
        self.updated += 0 if is_new else rows
        self.returned += returned


def read_back(
    cursor: Cursor, merge: Merge, compared: Compared, refused: list[int], fingerprints: Fingerprints | None
) -> ReadBack:
    """Look up the rows that were to be written, but for the refused.

    The rows that were the same were compared before anything was written. They are looked up again where the table
    may change rows that nobody wrote: by a trigger, or by a foreign key with ON DELETE CASCADE, say.

    Args:
        fingerprints: where to record those of the rows that are found equal.
    """
    found = ReadBack(unchanged=compared.same)
    differs = merge.differs(read_back=True)
    written = compared.to_write - len(refused)
    if written:
        rows_read = {"rows": CHANGED, "is_new": "c.is_new", "returns": "c.returns"}
        if not refused and (compared.is_all_new or compared.is_all_changed):  # nothing to join with
            rows_read = {"rows": STAGED, "is_new": str(compared.is_all_new), "returns": "false"}
        for is_new, returns, rows in find_equal(cursor, merge, fingerprints, {**rows_read, "differs": differs}):
            found.count(is_new, rows, rows if returns else 0)
    parts = {"is_newer": merge.is_newer(), "altered": altered_columns(merge), "differs": differs}
    # most loads end here: all rows were found as they were staged
    if found.inserted + found.updated < written:
        execute(cursor, "read_back_others", **merge.target, **parts, was_written=merge.was_written)
        for record, is_new, returns, outcome, columns in cursor.fetchall():
            if outcome == "altered":
                found.count(is_new, 1, int(returns))
                found.altered += 1
                found.altered_columns.update(columns)
            elif outcome == "newer":
                found.unchanged += 1
                found.unwritten.append(record)
            else:
                found.unwritten.append(record)
                found.dropped[record] = ("", DROPPED)
    if found.dropped and merge.may_skip_rows:
        refuse_other_keys(cursor, merge)
    if compared.same and merge.table.changes_rows:
        read_back_unwritten(cursor, merge, found, refused, parts)
    return found


def find_equal(
    cursor: Cursor, merge: Merge, fingerprints: Fingerprints | None, parts: dict[str, str]
) -> list[tuple[bool, bool, int]]:
    """How many rows are in the table just as they were staged; their fingerprints are recorded, if that is possible."""
    counted = None
    if fingerprints is not None:
        with if_possible(cursor, fingerprints.name):
            execute(cursor, "read_back", **merge.target, **parts, **record_parts(merge, fingerprints))
            counted = cursor.fetchall()
    # rolled back with the savepoint, a failed recording gives no counts either
    if counted is None:
        execute(cursor, "read_back", **merge.target, **parts, **record_parts(merge, None))
        counted = cursor.fetchall()
    return counted


def refuse_other_keys(cursor: Cursor, merge: Merge) -> None:
    """Raise SchemaMismatch where rows were written under keys that the file has not, as a trigger may do."""
    execute(cursor, "other_keys", staged_key=merge.alignment.key.staged)
    if one_row(cursor)[0]:
        raise SchemaMismatch(
            f"{merge.table.quoted}: a trigger of the table changes {merge.key}, on which rows are matched. Nothing "
            "was changed. Change the trigger so that it does not modify the key."
        )


def read_back_unwritten(
    cursor: Cursor, merge: Merge, found: ReadBack, refused: list[int], parts: dict[str, str]
) -> None:
    """Find those of the rows that were the same which the table itself has changed or removed since."""
    execute(cursor, "read_back_unwritten", {"refused": refused}, **merge.target, **parts)
    for record, is_gone, columns in cursor.fetchall():
        if is_gone:
            found.unchanged -= 1
            found.dropped[record] = ("", DROPPED)
        else:
            found.altered += 1
            found.altered_columns.update(columns)


def altered_columns(merge: Merge) -> str:
    """SQL for the names of the columns in which the table differs from what was staged."""
    columns = [column for column in merge.compared if not (merge.without_new and column.is_new)]
    differing = ((c.name, c.differs_from(f"t.{quoted(c.name)}")) for c in columns)
    return ", ".join(f"CASE WHEN {differs} THEN {literal(name)} END" for name, differs in differing) or "NULL"
