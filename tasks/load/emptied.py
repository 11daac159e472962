"""Columns of which one load would set many values to null, as when the LMS stops sending a field."""

from collections import Counter

from psycopg2.extensions import cursor as Cursor

from tasks.errors import ColumnEmptied
from tasks.load.database import execute, literal, one_row, quoted
from tasks.load.formats import JSON, as_jsonb, is_null
from tasks.load.plan import Merge
from tasks.options import allowed_emptied
from tasks.s3 import Snapshot

SINCE_16 = 160_000
"""The server version from which SQL can test whether a text is JSON."""
SAMPLE = 1000
"""Stored rows that are searched for values of all columns in one query."""


def check_emptied(
    cursor: Cursor, merge: Merge, snapshot: Snapshot, filled: Counter[str], limit: str | None
) -> tuple[list[str], list[str]]:
    """The columns and custom-field keys that are new since the last load, and those that have vanished.

    Counts the values of the scope's stored rows; for a plain file, those of the stored rows whose keys it contains.

    Args:
        filled: column name to how many of its values are not null among the staged rows.

    Raises:
        ColumnEmptied: more of a column's values than the limit would become null.
    """
    # from 1, as in compare.sql: 0 marks an unchanged row, -1 the custom fields
    columns = {column.number + 1: column.name for column in merge.compared}
    execute(cursor, "emptied")
    emptied = {columns[number]: count for number, count in cursor.fetchall()}
    appeared = [column.name for column in merge.compared if filled[column.name] and not column.is_new]
    vanished = [name for name in emptied if not filled[name] and not is_known(cursor, merge, name)]
    for name, lost, gained in emptied_keys(cursor, merge):
        emptied |= {name: lost} if lost else {}
        appeared += [name] if gained and not lost else []
    stored = {name: count_stored(cursor, merge, name) for name in emptied}
    if too_many := {name: n for name, n in emptied.items() if n > allowed_emptied(limit, stored[name])}:
        found = ", ".join(f"{name} ({n} of {stored[name]})" for name, n in too_many.items())
        raise ColumnEmptied(
            f"{snapshot.object}: expected no column to lose more than {limit or '50%, at least 10,'} of its values; "
            f"these would become null: {found}. Nothing was changed. Check whether the LMS still sends these fields to "
            "this account; if their values may go, run once with a higher max_emptied."
        )
    vanished += [name for name, n in emptied.items() if "." in name and n == stored[name]]
    return new_names(cursor, merge, appeared), vanished


def is_known(cursor: Cursor, merge: Merge, name: str) -> bool:
    """Whether a row whose record was not staged has a value in that column."""
    execute(cursor, "known_value", value=stored_value(merge, name), **merge.target)
    return bool(one_row(cursor)[0])


def new_names(cursor: Cursor, merge: Merge, names: list[str]) -> list[str]:
    """The columns and keys for which no stored row of the scope has a value; none if no rows are stored.

    The first SAMPLE rows settle most names in one query.
    """
    if not names:
        return []
    values = ", ".join(f"bool_or(({stored_value(merge, name)}) IS NOT NULL)" for name in names)
    execute(cursor, "stored_sample", {"most": SAMPLE}, table=merge.table.quoted, values=values, in_scope=merge.in_scope)
    rows, *seen = one_row(cursor)
    unseen = [name for name, found in zip(names, seen, strict=True) if not found]
    # to an empty table, every column would be new
    if rows == 0:
        return []
    return unseen if rows < SAMPLE else [n for n in unseen if not count_stored(cursor, merge, n, most=1)]


def emptied_keys(cursor: Cursor, merge: Merge) -> list[tuple[str, int, int]]:
    """Each key of the custom fields: how many stored values would be lost, how many rows would gain one."""
    custom = merge.custom_fields
    if custom is None or custom.base not in JSON and cursor.connection.server_version < SINCE_16:
        return []
    stored, loaded = (as_jsonb(value, custom.base) for value in (f"t.{quoted(custom.name)}", custom.value))
    execute(cursor, "emptied_keys", stored=stored, loaded=loaded, **merge.target)
    return [(f"{custom.name}.{name}", lost, gained) for name, lost, gained in cursor.fetchall()]


def count_stored(cursor: Cursor, merge: Merge, name: str, *, most: int | None = None) -> int:
    """How many of the scope's stored rows have a value there; stops counting at `most`."""
    parts = {"value": stored_value(merge, name), "in_scope": merge.in_scope, "most": str(most or "ALL")}
    execute(cursor, "stored_values", table=merge.table.quoted, **parts)
    return int(one_row(cursor)[0])


def stored_value(merge: Merge, name: str) -> str:
    """SQL for a stored row's value in a column, or under a key of the custom fields; null if it has none."""
    column, _, key = name.partition(".")
    if key and merge.table.column(name) is None:
        found = merge.table.column(column)
        return f"NULLIF({as_jsonb(f't.{quoted(column)}', found.base if found else 'jsonb')} -> {literal(key)}, 'null')"
    found = merge.table.column(name)
    return f"NULLIF({is_null(f't.{quoted(name)}', found.base if found else '')}, true)"
