"""From the staging table into the members: one statement, unless the table itself refuses a row.

Then the rows are merged by stretches, each in a savepoint, and a stretch that is refused is halved
until the rows to blame stand alone: whatever refused them, a constraint, a foreign key or a trigger.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg2
from psycopg2.extensions import cursor as Cursor

from tasks.align import AlignedColumn, Alignment
from tasks.columns import KEY
from tasks.database import execute, is_about_a_row, one_row, quoted, without_values
from tasks.errors import TooManyRejected
from tasks.schema import TableSchema

STRETCH = 4096
Reasons = dict[int, tuple[str, str]]
"""Record number to the column that was refused, or "" for the row, and why."""
SWALLOWED = "the table dropped the row without an error: a trigger, rule or policy"
DEPARTED = AlignedColumn("departed_at", value="NULL::timestamptz")
EDITED = "date_edited"


@dataclass
class Merged:
    """How many rows were written, and which records the table refused: column and reason of each."""

    inserted: int = 0
    updated: int = 0
    returned: int = 0
    refused: Reasons = field(default_factory=dict)


class Refused(Exception):
    """The table refuses one of the rows that were sent."""


@dataclass(frozen=True)
class Merge:
    """The upsert of the staged rows into one table.

    Args:
        keep_newer: leave a row alone whose `date_edited` in the table is later than in the file.
        revive: clear `departed_at` of members who are back.
    """

    table: TableSchema
    alignment: Alignment
    keep_newer: bool
    revive: bool

    def columns(self) -> list[AlignedColumn]:
        """What is written, in order."""
        return [*self.alignment.loaded, *([DEPARTED] if self.revive else [])]

    def parts(self) -> dict[str, str]:
        """The pieces of SQL that make tasks/sql/upsert.sql this table's."""
        columns = self.columns()
        changing = [column for column in columns if column.name != KEY]
        newer = self.keep_newer and self.alignment.has(EDITED)
        return {
            "table": self.table.quoted,
            "columns": ", ".join(quoted(column.name) for column in columns),
            "values": ", ".join(str(column.value) for column in columns),
            "differs": " OR ".join(differs(column) for column in changing) or "false",
            "not_older": f" AND (t.{EDITED} > {self.value(EDITED)}) IS NOT TRUE" if newer else "",
            "assignments": ", ".join(
                f"{quoted(column.name)} = EXCLUDED.{quoted(column.name)}" for column in changing or columns
            ),
        }

    def difference_parts(self, show_values: bool) -> dict[str, str]:
        """The pieces of SQL that make tasks/sql/differences.sql tell what would change, with values or without."""
        told = [
            f"CASE WHEN {differs(column)} THEN {literal(column.name)}"
            + (
                f" || ' ' || {told_value('t.' + quoted(column.name))} || ' -> ' || {told_value(str(column.value))}"
                if show_values
                else ""
            )
            + " END"
            for column in self.columns()
            if column.name != KEY
        ]
        return {"changes": f"array_to_string(ARRAY[{', '.join(told)}], ', ')"}

    def value(self, name: str) -> str:
        """The SQL of one loaded column's value."""
        return next(str(column.value) for column in self.alignment.loaded if column.name == name)


def differs(column: AlignedColumn) -> str:
    """SQL that tells whether the staged value is another than the table's."""
    name, value = f"t.{quoted(column.name)}", column.value
    return f"{name} IS DISTINCT FROM {value}" if column.equal else f"{name}::text IS DISTINCT FROM {value}::text"


def told_value(value: str) -> str:
    """SQL for a value as a person reads it."""
    return f"coalesce(quote_literal({value}::text), 'null')"


def literal(text: str) -> str:
    """A quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"


def merge_rows(cursor: Cursor, merge: Merge, rows: int, max_refused: int) -> Merged:
    """Every staged row is in the table as the file has it, or among the refused.

    Raises:
        TooManyRejected: the table refuses more than `max_refused` rows.
    """
    merged = Merged()
    away = marked(cursor, merge)
    everything = range(1, rows + 1)
    if everything and halve(cursor, merge, everything, merged, whole=True):
        unmatched = unmatched_references(cursor, merge)
        set_aside(cursor, merged, unmatched, max_refused)
        if not unmatched or halve(cursor, merge, everything, merged, whole=True):
            set_aside(cursor, merged, merge_around_refused(cursor, merge, everything, merged, max_refused), max_refused)
    execute(cursor, "swallowed", table=merge.table.quoted)
    set_aside(cursor, merged, {record: ("", SWALLOWED) for (record,) in cursor.fetchall()}, max_refused)
    merged.returned = away - marked(cursor, merge)
    return merged


def set_aside(cursor: Cursor, merged: Merged, refused: Reasons, limit: int) -> None:
    """Take refused rows out of the staging table; TooManyRejected where they are more than allowed."""
    merged.refused |= refused
    check_limit(merged.refused, limit)
    if refused:
        cursor.execute("DELETE FROM pg_temp.staging WHERE _record = ANY (%s)", (list(refused),))


def check_limit(refused: Reasons, limit: int) -> None:
    """Raise TooManyRejected, with the first reason, where more rows are refused than allowed."""
    if len(refused) > limit:
        column, reason = next(iter(refused.values()))
        raise TooManyRejected(
            f"the table refuses more rows than the {limit} that may still be rejected, the first for "
            f"{column or 'the row'}: {reason}. Nothing was changed. Mend the rows or the table, or raise max_rejected."
        )


def marked(cursor: Cursor, merge: Merge) -> int:
    """How many staged members the table has as departed: those who are back, until they are merged."""
    if not merge.revive:
        return 0
    execute(cursor, "marked", table=merge.table.quoted)
    return int(one_row(cursor)[0])


def unmatched_references(cursor: Cursor, merge: Merge) -> Reasons:
    """Rows whose foreign key has no counterpart, neither in the table it names nor, for its own, in the file.

    Found for all rows at once: rows that refer to each other must not be judged a stretch at a time.
    """
    refused: Reasons = {}
    for key in merge.table.foreign_keys:
        if not all(merge.alignment.has(name) for name in key.columns):
            continue
        own = key.referred == merge.table.quoted and all(merge.alignment.has(name) for name in key.referred_columns)
        values = [merge.value(name) for name in key.columns]
        pairs = list(zip(map(quoted, key.referred_columns), values, strict=True))
        parts = {
            "given": " AND ".join(f"{value} IS NOT NULL" for value in values),
            "referred": key.referred,
            "matches": " AND ".join(f"r.{name} = {value}" for name, value in pairs),
            "staged": " AND ".join(f"o.{name} = {value}" for name, value in pairs) if own else "false",
        }
        found = None
        while found != []:  # a row that goes may be the one that others refer to
            execute(cursor, "unmatched", {"refused": list(refused)}, **parts)
            found = [record for (record,) in cursor.fetchall()]
            refused |= {record: (key.columns[0], f'nothing to refer to (foreign key "{key.name}")') for record in found}
    return refused


def merge_around_refused(cursor: Cursor, merge: Merge, rows: range, merged: Merged, limit: int) -> Reasons:
    """Merge all rows but those that are refused; these once more at the end, by when what they refer to is there."""
    cursor.execute(
        "CREATE INDEX ON pg_temp.staging (_record); ANALYZE pg_temp.staging"
    )  # each stretch now costs its rows
    refused: Reasons = {}
    for start in range(0, len(rows), STRETCH):
        refused |= halve(cursor, merge, rows[start : start + STRETCH], merged)
        check_limit(refused, limit)
    while refused and len(again := halve(cursor, merge, list(refused), merged)) < len(refused):
        refused = again
    return refused


def halve(cursor: Cursor, merge: Merge, records: Sequence[int], merged: Merged, *, whole: bool = False) -> Reasons:
    """Merge these records; those that are refused stand alone in the end, unless they are to be taken `whole`."""
    try:
        merge_stretch(cursor, merge, records, merged)
        return {}
    except Refused as refused:
        if whole or len(records) == 1:
            column, reason = refused.args
            return {records[0]: (column, reason)}
    middle = len(records) // 2
    return halve(cursor, merge, records[:middle], merged) | halve(cursor, merge, records[middle:], merged)


def merge_stretch(cursor: Cursor, merge: Merge, records: Sequence[int], merged: Merged) -> None:
    """Merge these records, all or none."""
    cursor.execute("SAVEPOINT merging")
    only = None if isinstance(records, range) else list(records)
    try:
        values = {"first": records[0], "last": records[-1], "only": only}
        execute(cursor, "upsert", values, **merge.parts())
        inserted, updated = one_row(cursor)
    except psycopg2.Error as error:
        if not is_about_a_row(error):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT merging")
        raise Refused(error.diag.column_name or "", without_values(error)) from None
    cursor.execute("RELEASE SAVEPOINT merging")
    merged.inserted += inserted
    merged.updated += updated
