"""One PostgreSQL, the random table in it, and the questions that the oracle asks as its superuser."""

from dataclasses import dataclass
from typing import Any

import psycopg2

from sandbox.postgres import USER, Postgres
from tests.support.load.kinds import OWN_TYPES, case_insensitive
from tests.support.load.random_table import TEAMS
from tests.support.load.table import KEY, KEY_TYPES, Table, create, create_copy, drop, quoted

SCHEMA = "Load Property"
Values = dict[str, str | None]
REFUSALS = {"23", "P0", "42"}
"""SQLSTATE classes by which a table refuses a row: constraints, triggers, row level security (42501)."""


def parameterised(name: str) -> str:
    """A quoted identifier for a statement with parameters."""
    return quoted(name).replace("%", "%%")


class Refused(Exception):
    """The copy refuses a row, or a final state; `constraint` is what it broke, if it has a name."""

    def __init__(self, why: str, constraint: str = "") -> None:
        super().__init__(why)
        self.constraint = constraint


@dataclass(frozen=True)
class Stored:
    """One row: its columns as text, and where and by which transaction it was written."""

    values: Values
    version: tuple[str, ...]


class Server:
    """A server with the test's own types, and one table at a time."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres, self.schema = postgres, SCHEMA
        self.connection = postgres.connect(user="postgres")
        self.cursor = self.connection.cursor()
        self.number, self.name = 0, ""
        self.table: Table
        schema = quoted(SCHEMA)
        self.run("SET TimeZone = 'UTC'")
        self.run(case_insensitive())
        self.run(f"CREATE SCHEMA {schema}; GRANT ALL ON SCHEMA {schema} TO {USER}; {OWN_TYPES.format(s=schema)}")
        for teams in ("teams", "closed_teams"):
            rows = ", ".join(f"('{team}')" for team in TEAMS)
            self.run(
                f"CREATE TABLE {schema}.{teams} (code text PRIMARY KEY); INSERT INTO {schema}.{teams} VALUES {rows}"
            )
            self.run(f"GRANT REFERENCES ON {schema}.{teams} TO {USER}")
        self.run(f"GRANT SELECT ON {schema}.teams TO {USER}")
        self.connection.commit()

    def run(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        self.cursor.execute(statement, parameters)
        return list(self.cursor.fetchall()) if self.cursor.description else []

    def begin(self, table: Table) -> None:
        """Make the table and its copy."""
        self.connection.rollback()
        self.number += 1
        self.table, self.name = table, f"members_{self.number}"
        self.run(f"SET LOCAL ROLE {USER}")
        for statement in [*create(table, SCHEMA, self.name), *create_copy(table, SCHEMA, self.copy_name)]:
            self.run(statement)
        self.connection.commit()

    def end(self) -> None:
        """Remove them."""
        self.connection.rollback()
        self.run(f"DROP TABLE IF EXISTS {self.address(self.name + '_history')} CASCADE")
        self.run(f"DROP TABLE IF EXISTS {self.address(self.name + '_fingerprints')}")
        for statement in drop(self.table, SCHEMA, self.name) + drop(self.table, SCHEMA, self.copy_name):
            self.run(statement)
        self.connection.commit()

    @property
    def copy_name(self) -> str:
        return f"{self.name}_copy"

    def address(self, name: str) -> str:
        return f"{quoted(SCHEMA)}.{quoted(name)}"

    def type_of(self, name: str) -> str:
        column = self.table.column(name)
        assert column is not None, name
        return column.sql.replace("{s}", quoted(SCHEMA))

    def read(self, name: str) -> dict[str, Stored]:
        """Every row, hidden ones too, by key."""
        texts = ", ".join(f"{quoted(column.name)}::text" for column in self.table.columns)
        rows = self.run(f"SELECT tableoid::text, ctid::text, xmin::text, {texts} FROM {self.address(name)}")
        names = [column.name for column in self.table.columns]
        found = [Stored(dict(zip(names, row[3:], strict=True)), row[:3]) for row in rows]
        return {str(stored.values[KEY]): stored for stored in found}

    def visible(self) -> set[str]:
        """The keys that the loader sees."""
        self.run(f"SET ROLE {USER}")
        rows = self.run(f"SELECT {KEY}::text FROM {self.address(self.name)}")
        self.run("RESET ROLE")
        return {key for (key,) in rows}

    def current(self, name: str) -> dict[str, str]:
        """The rows that the loader sees of a table, or of a view on its history, as text by key."""
        columns = ", ".join(quoted(column.name) for column in self.table.columns)
        self.run(f"SET ROLE {USER}")
        rows = self.run(f"SELECT {KEY}::text, ROW({columns})::text FROM {self.address(name)}")
        self.run("RESET ROLE")
        return dict(rows)

    def referenced(self) -> list[str]:
        """The keys that the outside table holds."""
        if not self.table.outside:
            return []
        return [key for (key,) in self.run(f"SELECT member::text FROM {self.address(self.name + '_outside')}")]

    def reference(self, name: str, keys: list[str]) -> None:
        for key in keys:
            self.run(
                f"INSERT INTO {self.address(name + '_outside')} VALUES (%s::{KEY_TYPES[self.table.key_kind]})", (key,)
            )

    def canonical(self, rows: list[Values]) -> list[Values]:
        """The text forms of what each column's type makes of these literals; nothing of the table's is asked."""
        found = []
        for row in rows:
            parts = ", ".join(f"%s::{self.type_of(name)}::text" for name in row)
            (texts,) = self.run(f"SELECT {parts}", list(row.values()))
            found.append(dict(zip(row, texts, strict=True)))
        return found

    # The rest is about the copy, inside one transaction that is rolled back in the end.

    def fill(self, rows: list[Values], outside: list[str]) -> None:
        """The copy holds exactly these rows, whatever its triggers and policies would say."""
        names = [column.name for column in self.table.columns if not column.generated]
        self.run("SET LOCAL session_replication_role = replica")
        for row in rows:
            values = ", ".join(f"%s::{self.type_of(name)}" for name in names)
            columns = ", ".join(map(parameterised, names))
            statement = f"INSERT INTO {self.address(self.copy_name)} ({columns}) VALUES ({values})"
            self.run(statement, [row[name] for name in names])
        if self.table.outside:
            self.reference(self.copy_name, outside)
        self.run(f"SET LOCAL session_replication_role = origin; SET LOCAL ROLE {USER}")

    def write(self, name: str, row: Values, *, exists: bool) -> None:
        """One row goes in as the loader would write it: an UPDATE where it has one already."""
        key = f"{KEY} = %s::{self.type_of(KEY)}"
        if exists:
            rest = {column: value for column, value in row.items() if column != KEY}
            sets = ", ".join(f"{parameterised(column)} = %s::{self.type_of(column)}" for column in rest)
            self.effect(f"UPDATE {self.address(name)} SET {sets} WHERE {key}", [*rest.values(), row[KEY]])
        else:
            columns = ", ".join(map(parameterised, row))
            values = ", ".join(f"%s::{self.type_of(column)}" for column in row)
            self.effect(f"INSERT INTO {self.address(name)} ({columns}) VALUES ({values})", list(row.values()))

    def remove(self, name: str, key: str) -> None:
        self.effect(f"DELETE FROM {self.address(name)} WHERE {KEY} = %s::{self.type_of(KEY)}", [key])

    def effect(self, statement: str, parameters: list[str | None]) -> None:
        """Run it; Refused where the table refuses the row, or drops it without a word."""
        try:
            self.run(statement, parameters)
        except psycopg2.Error as error:
            raise refusal(error) from None
        if self.cursor.rowcount != 1:
            raise Refused(f"dropped ({self.cursor.rowcount} rows written)")

    def settle(self) -> None:
        """Have everything deferred checked now; Refused where it does not hold."""
        try:
            self.run("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg2.Error as error:
            raise refusal(error) from None


def refusal(error: psycopg2.Error) -> Refused:
    """What the table refused; any other error is the oracle's own mistake, and stays one."""
    if (error.pgcode or "")[:2] not in REFUSALS or (error.pgcode or "").startswith("42") and error.pgcode != "42501":
        raise error
    return Refused(str(error.diag.message_primary), error.diag.constraint_name or "")
