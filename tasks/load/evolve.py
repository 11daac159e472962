"""Creates the table if it is missing, and adds the file's new columns under schema_contract `evolve`."""

import time

import psycopg2
from psycopg2.extensions import cursor as Cursor

from tasks.errors import Unreachable
from tasks.load.align import Alignment
from tasks.load.database import one_row, quoted, statement, transaction
from tasks.load.database_errors import LOCKED
from tasks.load.schema import TableColumn, TableSchema, create_statement
from tasks.streams import Stream

ALTER_TRIES, ALTER_WAIT_S = 10, 2
"""While ALTER TABLE waits for a reader, it blocks every later one, so it waits briefly, several times."""


def create_missing(cursor: Cursor, table: TableSchema) -> None:
    """With create_table: the table exists, unless another load has created it meanwhile."""
    if table.missing:
        cursor.execute("SELECT to_regclass(%s) IS NULL", (table.quoted,))
        if one_row(cursor)[0]:
            cursor.execute(create_statement(table.stream, table.quoted))


def default_columns(stream: Stream, blocks: str | None) -> dict[str, TableColumn]:
    """The columns of the stream's default table, as PostgreSQL itself reads the file that creates it."""
    with transaction(blocks) as cursor:
        name = "pg_temp.default_table"
        cursor.execute(create_statement(stream, name))
        cursor.execute(statement("column_types"), {"table": name})
        rows = cursor.fetchall()
        cursor.execute(f"DROP TABLE {name}")
    return {
        name: TableColumn(name, declared, base, element=of, element_base=its)
        for name, declared, base, of, its, *_ in rows
    }


def add_columns(cursor: Cursor, table: TableSchema, alignment: Alignment) -> None:
    """With schema_contract evolve: the table has the file's new columns too."""
    if alignment.added:
        alter_table(cursor, table.quoted, [(column.name, column.declared) for column in alignment.added])


def alter_table(cursor: Cursor, table: str, columns: list[tuple[str, str]]) -> None:
    """Add columns (name and type) to a table (its quoted name).

    Raises:
        Unreachable: readers held the table all that time.
    """
    added = ", ".join(f"ADD COLUMN {quoted(name)} {kind}" for name, kind in columns)
    for tries_left in reversed(range(ALTER_TRIES)):
        cursor.execute(f"SAVEPOINT altering; SET LOCAL lock_timeout = '{ALTER_WAIT_S}s'")
        try:
            cursor.execute(f"ALTER TABLE {table} {added}")
        except psycopg2.Error as error:
            if error.pgcode != LOCKED:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT altering")
            if not tries_left:
                raise Unreachable(
                    f"{table}: expected to add the columns {', '.join(name for name, _ in columns)}, "
                    f"but the table was in use on all {ALTER_TRIES} tries (SQLSTATE {LOCKED}). Nothing was changed; "
                    "run again, or add them by hand."
                ) from None
            # lets the readers go ahead that have queued behind this ALTER
            time.sleep(1)
        else:
            # back to SESSION's value in database.py
            cursor.execute("SET LOCAL lock_timeout = '60s'; RELEASE SAVEPOINT altering")
            return
