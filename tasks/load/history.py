"""The history of a table: every version of each row, with the period in which it was valid.

A load writes the rows that it has changed, as they are in the table in the end. Changes made by loads without history
are found by comparing the whole table, before anything else is written.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg2
from psycopg2.errors import InsufficientPrivilege
from psycopg2.extensions import cursor as Cursor

from tasks.columns import DEPARTED_AT
from tasks.errors import AuthError, SchemaMismatch
from tasks.load.align import LONGEST_NAME
from tasks.load.compare import Compared
from tasks.load.database import execute, one_row, quoted, savepoint, statement
from tasks.load.evolve import alter_table
from tasks.load.ledger import LEDGER
from tasks.load.plan import CHANGED, STAGED, Merge
from tasks.load.schema import TableSchema
from tasks.log import run_logger

OWN_COLUMNS = ("valid_from", "valid_to", "change", "load_id")
MISSED, SIDE_EFFECTS = "pg_temp.history_missed", "pg_temp.history_side_effects"
ONE_TICK = timedelta(microseconds=1)  # timestamptz keeps microseconds


@dataclass(frozen=True)
class History:
    """The history of one table, at the beginning of a load."""

    name: str
    """Quoted and qualified."""
    columns: tuple[str, ...]
    """The table's."""
    at: datetime
    """The database's clock, later than anything in the history."""
    is_new: bool
    """This load has just created it; its indexes are created once it has rows."""
    is_empty: bool
    has_missed: bool
    """Whether loads without history have changed the table since."""


def history_name(table: TableSchema) -> str:
    """The quoted, qualified name of a table's history."""
    return quoted(table.schema, f"{table.table}_history")


def view_name(table: TableSchema) -> str:
    """The quoted, qualified name of the view of a history's current state."""
    return quoted(table.schema, f"{table.table}_history_current")


def sql_of(name: str, **parts: str) -> str:
    """The SQL of a file without its comments, on one line, for somebody to run by hand."""
    lines = (line for line in statement(name).splitlines() if not line.startswith("--"))
    return " ".join(" ".join(lines).split()).format(**parts).rstrip(";")


def open_history(cursor: Cursor, merge: Merge, *, dry_run: bool) -> History | None:
    """Create the history, or add the columns it lacks; put what it missed into MISSED. None in a dry run.

    Raises:
        AuthError: there is no history and this user may not create it. Names the SQL to run.
        SchemaMismatch: a column of the table has the name of one of the history's own, or a different type there.
    """
    table = merge.table
    check_names(table, [column.name for column in merge.alignment.added])
    name = history_name(table)
    cursor.execute("SELECT to_regclass(%s) IS NULL", (name,))
    [is_new] = one_row(cursor)
    is_wider = False
    if is_new:
        create_history(cursor, table, name)  # which a dry run rolls back
    else:
        is_wider = sync_columns(cursor, table, name, dry_run=dry_run)
    if dry_run:
        return None
    make_view(cursor, table, name, only_if_missing=not is_wider)
    columns = (*(column.name for column in table.columns), *(column.name for column in merge.alignment.added))
    ledger = quoted(table.schema, LEDGER)
    execute(cursor, "history_last", {"table_name": table.table}, history=name, ledger=ledger)
    last, has_missed = one_row(cursor)
    has_missed = has_missed or is_wider  # the new columns may have values already
    history = History(name, columns, after(cursor, last), is_new, last is None, has_missed)
    if has_missed:
        find_missed(cursor, merge, history, MISSED)
    return history


def check_names(table: TableSchema, added: list[str]) -> None:
    """Raise SchemaMismatch if the history cannot have all the table's columns, or its name would be too long."""
    if taken := sorted({*(column.name for column in table.columns), *added}.intersection(OWN_COLUMNS)):
        raise SchemaMismatch(
            f"{table.quoted}: expected no column named {', '.join(OWN_COLUMNS)}, since the history uses these names; "
            f"found {', '.join(taken)}. Nothing was changed. Rename it, or load without history."
        )
    if len(f"{table.table}_history_current".encode()) > LONGEST_NAME:
        raise SchemaMismatch(
            f"{table.quoted}: its name is too long for a history, which adds up to 16 bytes to it (the limit is "
            f"{LONGEST_NAME}). Nothing was changed. Load without history, or rename the table."
        )


def create_history(cursor: Cursor, table: TableSchema, name: str) -> None:
    """Create the history; its indexes are created once it has rows.

    Raises:
        AuthError: this user may not create it. Names the SQL to run.
    """
    kinds = column_types(cursor, table.quoted)
    columns = ", ".join(f"t.{quoted(column)}::{kind} AS {quoted(column)}" for column, kind in kinds.items())
    parts = {"history": name, "table": table.quoted, "key": quoted(table.stream.key_column), "columns": columns}
    with as_owner(cursor, name, lambda: "; ".join([
        sql_of("history_table", **parts), sql_of("history_indexes", **parts),
        sql_of("history_view", view=view_name(table), history=name),
        f"GRANT SELECT, INSERT, UPDATE ON {name} TO {quoted(cursor.connection.info.user)};",
    ])):  # fmt: skip
        execute(cursor, "history_table", **parts)


@contextmanager
def as_owner(cursor: Cursor, name: str, sql: Callable[[], str]) -> Iterator[None]:
    """Do what only the history's owner may do; if this user is not, raise an AuthError with the SQL to run."""
    try:
        with savepoint(cursor):
            yield
    except InsufficientPrivilege:
        raise AuthError(
            f"{name}: expected a history with the table's columns, or permission to create or alter it; found neither. "
            f"Nothing was changed. As the schema's owner, run: {sql()}"
        ) from None


def column_types(cursor: Cursor, table: str) -> dict[str, str]:
    """Each column's type in SQL; for a domain its base type, since its constraints are not the history's."""
    cursor.execute(statement("column_types"), {"table": table})
    return {
        name: (base if base not in (declared, "enum") else declared) + (f" COLLATE {collation}" if collation else "")
        for name, declared, base, _, _, _, collation, *_ in cursor.fetchall()
    }


def sync_columns(cursor: Cursor, table: TableSchema, name: str, *, dry_run: bool) -> bool:
    """Give the history every column of the table, with the same type; return whether any were added.

    Columns that the table no longer has stay in the history.

    Raises:
        SchemaMismatch: a column has a different type there, or the table is not a history. Names the SQL to run.
        AuthError: columns are missing, and this user may not add them. Names the SQL to run.
    """
    wanted, found = column_types(cursor, table.quoted), column_types(cursor, name)
    if not set(OWN_COLUMNS) <= found.keys():
        raise SchemaMismatch(
            f"{name}: expected the history of {table.quoted}, with columns {', '.join(OWN_COLUMNS)}; found another "
            "table of that name. Nothing was changed. Rename it, or load without history."
        )
    if other := [c for c in wanted if c in found and found[c] != wanted[c]]:
        changes = (f"ALTER COLUMN {quoted(c)} TYPE {wanted[c]} USING {quoted(c)}::{wanted[c]}" for c in other)
        raise SchemaMismatch(
            f"{name}: expected the same types as in {table.quoted}, found different ones for {', '.join(other)}. "
            f"Nothing was changed. As the history's owner, run: DROP VIEW IF EXISTS {view_name(table)}; "
            f"ALTER TABLE {name} {', '.join(changes)}; {sql_of('history_view', view=view_name(table), history=name)};"
        )
    missing = [(c, wanted[c]) for c in wanted if c not in found]
    if not missing or dry_run:
        return False
    added = ", ".join(f"ADD COLUMN {quoted(c)} {kind}" for c, kind in missing)
    with as_owner(cursor, name, lambda: f"ALTER TABLE {name} {added};"):
        alter_table(cursor, name, missing)
    return True


def make_view(cursor: Cursor, table: TableSchema, name: str, *, only_if_missing: bool) -> None:
    """Create the view of the current versions, with all columns. It is for people: no load fails because of it."""
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (view_name(table),))
    if one_row(cursor)[0] and only_if_missing:
        return
    try:
        with savepoint(cursor):
            execute(cursor, "history_view", view=view_name(table), history=name)
    # OR REPLACE can only add columns at the end, and only the view's owner may
    except psycopg2.ProgrammingError as error:
        run_logger().warning(
            "the view %s could not be brought up to date (SQLSTATE %s). As its owner, run: DROP VIEW IF EXISTS %s; %s;",
            view_name(table), error.pgcode, view_name(table),
            sql_of("history_view", view=view_name(table), history=name),
        )  # fmt: skip


def after(cursor: Cursor, last: datetime | None) -> datetime:
    """The database's clock, but always later than the last recorded time: clocks are sometimes set back."""
    # not now(), the transaction's beginning, which may be before a load for which this one has waited
    cursor.execute("SELECT clock_timestamp()")
    now: datetime = one_row(cursor)[0]
    return now if last is None else max(now, last + ONE_TICK)


def find_missed(cursor: Cursor, merge: Merge, history: History, into: str) -> None:
    """Compare the whole table with the history's current state; put the differences into a temporary table."""
    kinds = column_types(cursor, merge.table.quoted)  # values of a domain are compared as its base type
    changes = [f"WHEN h.{quoted(merge.key)} IS NULL THEN 'inserted'"]
    if DEPARTED_AT in history.columns:
        changes.append(f"WHEN (t.{DEPARTED_AT} IS NULL) < (h.{DEPARTED_AT} IS NULL) THEN 'departed'")
        changes.append(f"WHEN (t.{DEPARTED_AT} IS NULL) > (h.{DEPARTED_AT} IS NULL) THEN 'returned'")
    execute(
        cursor,
        "history_missed",
        **merge.target,
        missed=into,
        history=history.name,
        stored=", ".join(f"t.{quoted(name)}::{kinds[name]}" for name in history.columns),
        known=listed("h", history),
        change=f"CASE {' '.join(changes)} ELSE 'updated' END",
    )


def write_history(
    cursor: Cursor, merge: Merge, history: History, compared: Compared, load_id: int, *, all_written: bool
) -> int:
    """Write the new state of every row that this load has changed; return how many rows that took.

    `pg_temp.changes` holds the rows that were written, and no others.

    Args:
        all_written: no row was refused.
    """
    rows = 0
    if history.has_missed:
        rows += write_states(cursor, merge, history, f"{MISSED} AS t", "t.change", history.at, load_id)
        if not history.is_empty:
            end_states(cursor, merge, history, history.at, load_id)
    if history.is_new and rows:
        create_indexes(cursor, merge, history)
    # later than what was recorded as missed: one row may have a version of each
    at, before = after(cursor, history.at), rows
    rows_written, change = (
        CHANGED,
        "CASE WHEN c.is_new THEN 'inserted' WHEN c.returns THEN 'returned' ELSE 'updated' END",
    )
    if all_written and (compared.is_all_new or compared.is_all_changed):  # nothing to join with
        rows_written, change = STAGED, "'inserted'" if compared.is_all_new else "'updated'"
    target = f"JOIN {merge.table.quoted} AS t ON t.{quoted(merge.key)}"
    written = f"{rows_written} {target} = s.{merge.alignment.key.staged}"
    if history.is_empty and not rows:  # the table was empty too, so all its rows are from this load
        written, change = f"{merge.table.quoted} AS t", "'inserted'"
    if compared.to_write:
        rows += write_states(cursor, merge, history, written, change, at, load_id)
    if merge.departure_statement is not None:
        marked = f"WHERE t.{DEPARTED_AT} IS NOT NULL" if merge.revive else "WHERE false"
        left = f"pg_temp.leavers AS l {target} = l._key {marked}"
        rows += write_states(cursor, merge, history, left, "'departed'", at, load_id)
        current = f"JOIN {history.name} AS t ON t.{quoted(merge.key)} = l._key AND t.valid_to = 'infinity'"
        there = f"SELECT FROM {merge.table.quoted} AS o WHERE o.{quoted(merge.key)} = l._key"
        gone = f"pg_temp.leavers AS l {current} WHERE NOT EXISTS ({there})"
        rows += write_states(cursor, merge, history, gone, "'gone'", at, load_id)
    if merge.table.changes_rows:
        end_states(cursor, merge, history, at, load_id)  # otherwise a row would be compared with both of its versions
        find_missed(cursor, merge, history, SIDE_EFFECTS)
        rows += write_states(cursor, merge, history, f"{SIDE_EFFECTS} AS t", "t.change", at, load_id)
    if history.is_new and not before:
        create_indexes(cursor, merge, history)
    elif rows > before:
        end_states(cursor, merge, history, at, load_id)
    return rows


def write_states(
    cursor: Cursor, merge: Merge, history: History, rows: str, change: str, at: datetime, load_id: int
) -> int:
    """Begin a new version of each of these rows (SQL, with the row itself as `t`); return how many there are."""
    values = {"at": at, "load_id": load_id}
    parts = {"history": history.name, "key": quoted(merge.key)}
    names = ", ".join(map(quoted, history.columns))
    execute(
        cursor, "history_open", values, **parts, columns=names, values=listed("t", history), change=change, rows=rows
    )
    return cursor.rowcount


def end_states(cursor: Cursor, merge: Merge, history: History, at: datetime, load_id: int) -> None:
    """End the previous version of every row that has had a new one since `at`."""
    values = {"at": at, "load_id": load_id}
    execute(cursor, "history_close", values, history=history.name, key=quoted(merge.key))


def create_indexes(cursor: Cursor, merge: Merge, history: History) -> None:
    """Index a new history, once it has rows."""
    execute(cursor, "history_indexes", history=history.name, key=quoted(merge.key))


def listed(source: str, history: History) -> str:
    """The table's columns, from a source of that name."""
    return ", ".join(f"{source}.{quoted(name)}" for name in history.columns)
