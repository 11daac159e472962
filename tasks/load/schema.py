"""The live table: its columns, their types, and the key that an upsert needs."""

import warnings
from dataclasses import dataclass
from typing import Any

from prefect import task
from psycopg2.extensions import cursor as Cursor
from sqlalchemy import Inspector, inspect
from sqlalchemy.exc import SAWarning

from tasks.errors import SchemaMismatch
from tasks.load.database import open_engine, quoted, statement
from tasks.load.database_errors import database_errors
from tasks.streams import MEMBERS, Stream
from tasks.task_options import IN_MEMORY, RETRIED


@dataclass(frozen=True)
class TableColumn:
    """One column: its type as declared (a domain's name, say), and the base type under any domain."""

    name: str
    declared: str
    base: str
    required: bool = False
    """NOT NULL, so that a row without a value is refused."""
    defaulted: bool = False
    writable: bool = True
    element: str | None = None
    """An array's element type as declared, and the base type under its domains."""
    element_base: str | None = None
    folds: bool = False
    """Its collation takes different texts for equal."""
    collation: str | None = None
    """Its collation's quoted name, where it is not the type's own."""
    default: str | None = None
    """SQL for what a new row gets where nothing is loaded into it, unless that differs from call to call."""
    generated: bool = False
    """Its value is always made of the row's other columns, by `default`."""

    @property
    def has_domain(self) -> bool:
        """Its type, or that of its elements, is a domain, which may check values."""
        return self.base != "enum" and (self.declared, self.element) != (self.base, self.element_base)


@dataclass(frozen=True)
class ForeignKey:
    """A reference to another table, or to the same."""

    name: str
    columns: tuple[str, ...]
    referred: str
    """The referred table's quoted, qualified name."""
    referred_columns: tuple[str, ...]
    deletes: bool = False
    """ON DELETE does more than refuse: it deletes or changes the rows that refer."""


@dataclass(frozen=True)
class Check:
    """A CHECK constraint, and the columns that it is about."""

    name: str
    expression: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Uniqueness:
    """A unique index or an exclusion constraint."""

    names: tuple[str, ...]
    """Its own first, then those of its partitions."""
    columns: tuple[str, ...]
    expressions: tuple[str, ...]
    """What it compares: column names or expressions, as SQL."""
    operators: tuple[str, ...]
    predicate: str | None
    immediate: bool
    """Judged row by row; a deferrable one is judged at the end of a statement or of the transaction."""
    is_key: bool
    """Unique on the key alone, for every row: what ON CONFLICT needs, if it is immediate too."""
    recollated: bool = False
    """It compares a column by another collation than the column's own."""


@dataclass(frozen=True)
class TableSchema:
    """The table that a stream is loaded into, as it is now."""

    schema: str
    table: str
    columns: tuple[TableColumn, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    uniqueness: tuple[Uniqueness, ...] = ()
    rewrites_rows: bool = False
    """A BEFORE trigger may change a row, so that its constraints cannot be judged by the file's values."""
    changes_rows: bool = False
    """A trigger or a foreign key's action may change rows that nobody wrote."""
    stream: Stream = MEMBERS
    """What is loaded into it."""
    missing: bool = False
    """Not there yet: the load makes it, in its own transaction."""

    @property
    def quoted(self) -> str:
        """The table's quoted, qualified name."""
        return quoted(self.schema, self.table)

    def column(self, name: str) -> TableColumn | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    def constrained_columns(self, constraint: str) -> tuple[str, ...]:
        """The columns that the constraint or index of that name is about; none where it is not known."""
        constraints = (
            *(((key.name,), key.columns) for key in self.foreign_keys),
            *(((check.name,), check.columns) for check in self.checks),
            *((unique.names, unique.columns) for unique in self.uniqueness),
        )
        return next((columns for names, columns in constraints if constraint in names), ())


@task(name="inspect-schema", **IN_MEMORY, **RETRIED)
def inspect_schema(
    schema: str, table: str, *, stream: Stream = MEMBERS, create_table: bool = False, blocks: str | None = None
) -> TableSchema:
    """Read the target table's columns and types, and check that an upsert on the stream's key is possible.

    Args:
        create_table: where the table is missing, describe the stream's default table, which the load then makes.
            Nothing is written here.

    Raises:
        SchemaMismatch: no such table, no key column, or no unique constraint on it.
        AuthError, ConfigError, LoadFailed: the database refused access, a name is wrong, or it could not be reached.
    """
    with database_errors(), open_engine(blocks).connect() as connection:
        connection.exec_driver_sql("SET quote_all_identifiers = off")  # names of types and columns as we write them
        inspector = inspect(connection)
        missing = not inspector.has_table(table, schema)
        if missing:
            if not create_table or not inspector.has_schema(schema):
                raise missing_table(inspector, schema, table, stream)
            connection.exec_driver_sql(
                create_statement(stream, quoted(schema, table))
            )  # rolled back when the connection closes
            inspector = inspect(connection)
        name = quoted(schema, table)
        types = connection.exec_driver_sql(statement("column_types"), {"table": name}).all()
        checks = connection.exec_driver_sql(statement("checks"), (name,)).all()
        unique = uniqueness(connection.exec_driver_sql(statement("uniqueness"), (name,)).all(), stream.key_column)
        side_effects = connection.exec_driver_sql(statement("side_effects"), {"table": name}).one()
        rewrites_rows, changes_rows, has_children = side_effects
        check_key(inspector, schema, table, unique, stream)
        if has_children:
            raise SchemaMismatch(
                f"{name} has child tables (INHERITS), which its unique constraints do not cover, so rows cannot be "
                f"matched. Detach them: ALTER TABLE ... NO INHERIT {name}; or use a partitioned table."
            )
        return TableSchema(
            schema,
            table,
            table_columns(inspector, schema, table, types),
            foreign_keys(inspector, schema, table),
            tuple(Check(name, expression, tuple(columns)) for name, expression, columns in checks),
            unique,
            rewrites_rows,
            changes_rows,
            stream,
            missing,
        )


def create_statement(stream: Stream, name: str) -> str:
    """The statement that creates the stream's default table under a quoted name."""
    return stream.ddl.read_text(encoding="utf-8").format(table=name)


def missing_table(inspector: Inspector, schema: str, table: str, stream: Stream) -> SchemaMismatch:
    """The error that says whether the schema or the table is missing, and how to create it."""
    if not inspector.has_schema(schema):
        return SchemaMismatch(
            f"there is no schema {quoted(schema)} that this user can see. Check BUSINESS_TRACKING_SCHEMA, or create "
            "the schema."
        )
    return SchemaMismatch(
        f"there is no table {quoted(schema, table)}. Check {stream.table_setting}, let the load create the table with "
        f"--create-table, or create it yourself from tasks/load/sql/{stream.ddl.name}."
    )


def check_key(inspector: Inspector, schema: str, table: str, unique: tuple[Uniqueness, ...], stream: Stream) -> None:
    """Raise SchemaMismatch unless the key alone is unique, row by row, which ON CONFLICT needs."""
    where, key = quoted(schema, table), stream.key_column
    if key not in {column["name"] for column in reflected(inspector, schema, table)}:
        raise SchemaMismatch(
            f"{where} has no column {key}, on which rows are matched. Check {stream.table_setting}, or add the "
            f"column: ALTER TABLE {where} ADD COLUMN {key} uuid PRIMARY KEY."
        )
    keys = [index for index in unique if index.is_key]
    if not keys:
        raise SchemaMismatch(
            f"{where} has no unique constraint on {key} alone, so rows cannot be matched. "
            f"First remove rows that share a key, then add one: ALTER TABLE {where} ADD UNIQUE ({key})."
        )
    if recollated := [index for index in keys if index.recollated]:
        raise SchemaMismatch(
            f"{where}: the unique index {quoted(recollated[0].names[0])} on {key} has a different collation from the "
            "column, so the two may disagree on which keys are equal. Give both the same collation."
        )
    if not any(index.immediate for index in keys):
        raise SchemaMismatch(
            f"{where}: the unique constraint {quoted(keys[0].names[0])} on {key} is DEFERRABLE, so ON CONFLICT cannot "
            f"use it. Make it NOT DEFERRABLE, or add another: ALTER TABLE {where} ADD UNIQUE ({key})."
        )


def uniqueness(rows: Any, key: str) -> tuple[Uniqueness, ...]:
    """What tasks/load/sql/uniqueness.sql found."""
    return tuple(
        Uniqueness(
            names=tuple(names),
            columns=tuple(columns),
            expressions=tuple(expressions),
            operators=tuple(operators or ["IS NOT DISTINCT FROM" if nulls_equal else "="] * len(expressions)),
            predicate=predicate,
            immediate=immediate,
            is_key=expressions == [key] and operators is None and predicate is None,
            recollated=recollated,
        )
        for names, columns, expressions, operators, predicate, immediate, nulls_equal, recollated in rows
    )


def table_columns(inspector: Inspector, schema: str, table: str, types: Any) -> tuple[TableColumn, ...]:
    """The inspector's columns with the catalogue's exact types."""
    by_name = {column["name"]: column for column in reflected(inspector, schema, table)}
    return tuple(
        TableColumn(
            name=name,
            declared=declared,
            base=base,
            required=not by_name[name]["nullable"],
            defaulted=by_name[name]["default"] is not None or bool(by_name[name].get("identity")),
            writable=not by_name[name].get("computed") and not (by_name[name].get("identity") or {}).get("always"),
            element=element,
            element_base=element_base,
            folds=folds,
            collation=collation,
            default=default,
            generated="computed" in by_name[name],
        )
        for name, declared, base, element, element_base, folds, collation, default in types
    )


def foreign_keys(inspector: Inspector, schema: str, table: str) -> tuple[ForeignKey, ...]:
    """What the table refers to."""
    return tuple(
        ForeignKey(
            name=str(key["name"]),
            columns=tuple(key["constrained_columns"]),
            referred=quoted(key["referred_schema"] or inspector.default_schema_name or "public", key["referred_table"]),
            referred_columns=tuple(key["referred_columns"]),
            # SQLAlchemy leaves the option out where it is NO ACTION
            deletes=key.get("options", {}).get("ondelete", "NO ACTION") not in {"NO ACTION", "RESTRICT"},
        )
        for key in inspector.get_foreign_keys(table, schema)
    )


def check_unaltered(cursor: Cursor, table: TableSchema) -> None:
    """Lock the table against ALTER until the transaction ends, and check that it is still as it was inspected.

    Raises:
        SchemaMismatch: its columns were altered since, so that the plan for the file's values may not fit them.
    """
    # reads no row, but holds ACCESS SHARE until the transaction ends, for which ALTER TABLE must wait
    cursor.execute(f"SET LOCAL quote_all_identifiers = off; SELECT FROM {table.quoted} LIMIT 0")
    cursor.execute(statement("column_types"), {"table": table.quoted})
    inspected = {
        c.name: (c.declared, c.base, c.element, c.element_base, c.folds, c.collation, c.default) for c in table.columns
    }
    if inspected != {name: tuple(rest) for name, *rest in cursor.fetchall()}:
        raise SchemaMismatch(
            f"{table.quoted} was altered after this load inspected it. Nothing was changed; run again."
        )


def reflected(inspector: Inspector, schema: str, table: str) -> list[Any]:
    """The inspector's columns; a type that SQLAlchemy does not know is no concern of the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)
        return list(inspector.get_columns(table, schema))
