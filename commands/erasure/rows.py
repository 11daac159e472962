"""The person in the database: their rows in each table and its history, and their id in other people's rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from psycopg2.extensions import cursor as Cursor

from commands.erasure.person import Found, Person
from tasks.errors import ConfigError
from tasks.load.database import RowError, execute, literal, one_row, quoted, savepoint
from tasks.load.fingerprints import SUFFIX
from tasks.load.ledger import LEDGER

ADDRESSES = ("email_address", "user_name")


@dataclass(frozen=True)
class Table:
    """A table that loads fill, or its history."""

    name: str
    """Quoted and qualified."""
    forms: str
    """SQL for the forms of the person's id, which has been checked to be a GUID."""
    of_person: str
    """SQL that is true if a row `t` is the person's own."""
    references: tuple[str, ...]
    """Columns of other rows that may hold the person's id, and may be null."""
    addresses: tuple[str, ...]

    def holds(self, column: str) -> str:
        """SQL that is true if another person's row holds the id in that column."""
        return f"NOT {self.of_person} AND {plain(column)} IN ({self.forms})"


def plain(column: str) -> str:
    """SQL for a value of the row `t` without the braces, blanks and dashes that a GUID may be written with."""
    return f"replace(btrim(lower(t.{quoted(column)}::text), ' {{}}'), '-', '')"


def loads_of(cursor: Cursor, schema: str) -> set[tuple[str, str, str]]:
    """Every table of the schema that a load has filled, with the bucket and the key of each object."""
    ledger = quoted(schema, LEDGER)
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (ledger,))
    if not one_row(cursor)[0]:
        return set()
    execute(cursor, "erase_ledger", ledger=ledger)
    return {(table, bucket, key) for table, bucket, key in cursor.fetchall()}


def tables_of(
    cursor: Cursor, schema: str, names: Iterable[str], person: Person, person_columns: set[str]
) -> Iterator[Table]:
    """The tables that exist, and their histories."""
    forms = ", ".join(map(literal, person.forms))
    for name in sorted({each for own in names for each in (own, f"{own}_history")}):
        execute(cursor, "columns", {"table": quoted(schema, name)})
        columns = cursor.fetchall()
        own = [column for column, *_ in columns if column in person_columns]
        if own:
            is_own = " OR ".join(f"({plain(column)} IN ({forms})) IS TRUE" for column in own)
            yield Table(
                quoted(schema, name),
                forms,
                f"({is_own})",
                tuple(c for c, may_hold, may_be_null in columns if may_hold and may_be_null and c not in own),
                tuple(column for column, *_ in columns if column in ADDRESSES),
            )


def find_rows(cursor: Cursor, table: Table, person: Person) -> list[Found]:
    """What names the person in one table."""
    held = " OR ".join(f"({table.holds(column)})" for column in table.references) or "false"
    parts = {"table": table.name, "of_person": table.of_person, "held": held}
    execute(cursor, "erase_find", {"pattern": "|".join([person.id, *person.forms])}, **parts)
    own, others, mentions = one_row(cursor)
    found = [
        Found(table.name, own, "rows of the person, deleted"),
        Found(table.name, others, "rows of others that refer to the person, the reference made null"),
        Found(
            table.name, mentions, "rows of others that mention the id elsewhere; correct them in the LMS", is_left=True
        ),
    ]
    return [each for each in found if each.count]


def with_addresses(cursor: Cursor, tables: list[Table], person: Person) -> Person:
    """The person with the e-mail addresses of their rows."""
    found: set[str] = set()
    for table in tables:
        for column in table.addresses:
            parts = {"table": table.name, "of_person": table.of_person, "column": quoted(column)}
            execute(cursor, "erase_addresses", **parts)
            found |= {value for (value,) in cursor.fetchall()}
    return replace(person, addresses=person.addresses | found)


def erase_all(cursor: Cursor, tables: list[Table]) -> None:
    """Delete the person's rows and remove their id from other people's rows, in an order that foreign keys allow.

    Raises:
        ConfigError: a constraint prevents it. Names the constraint.
    """
    for table in tables:
        for name in table.references:
            parts = {"table": table.name, "column": quoted(name), "held": table.holds(name)}
            execute(cursor, "erase_reference", **parts)
    # those that nothing refers to go first; the others may go once they have
    waiting = tables
    while waiting:
        refusals = {table: reason for table in waiting if (reason := delete_rows(cursor, table))}
        if len(refusals) == len(waiting):
            raise ConfigError(
                "the person's rows cannot be deleted; nothing was changed. Correct these first:", refusals.values()
            )
        waiting = list(refusals)


def forget_fingerprints(cursor: Cursor, schema: str, names: Iterable[str]) -> None:
    """Delete the fingerprints of rows that are gone or have been written since, for each of the tables."""
    for name in sorted(names):
        beside = quoted(schema, name + SUFFIX)
        execute(cursor, "erase_fingerprints_key", {"fingerprints": beside, "table": quoted(schema, name)})
        for (key,) in cursor.fetchall():
            execute(cursor, "erase_fingerprints", fingerprints=beside, table=quoted(schema, name), key=key)


def delete_rows(cursor: Cursor, table: Table) -> str:
    """Delete the person's rows in one table, or none of them; return why it was refused, or an empty string."""
    try:
        with savepoint(cursor):
            execute(cursor, "erase_rows", table=table.name, of_person=table.of_person)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except RowError as error:
        constraint = error.error.diag.constraint_name or "a trigger or rule"
        return f"{table.name}: {constraint} of {error.error.diag.table_name or 'the table'} needs them"
    return ""
