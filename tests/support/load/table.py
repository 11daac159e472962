"""A random table: its columns, what constrains them, and the DDL of the table and of the oracle's copy.

In the copy every constraint that can be deferred is deferred, so that a whole final state is judged at once.
"""

from dataclasses import dataclass

from tests.support.load.kinds import KINDS
from tests.support.load.values import Kind

KEY, DEPARTMENT_ID, EDITED, DEPARTED_AT = "lms_user_id", "department_id", "date_edited", "departed_at"
SUPERVISOR, TEAM = "supervisor_id", "team"
KEY_TYPES = {"uuid": "uuid", "text": "text"}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Column:
    """`kind` names one of KINDS, or is SQL of a type that the file never fills."""

    name: str
    kind: str
    required: bool = False
    extra: str = ""
    """DEFAULT or GENERATED."""
    in_file: bool = True

    @property
    def sql(self) -> str:
        return KINDS[self.kind].sql if self.kind in KINDS else self.kind

    @property
    def meaning(self) -> Kind:
        return KINDS[self.kind]

    @property
    def generated(self) -> bool:
        return "GENERATED" in self.extra


@dataclass(frozen=True)
class Unique:
    """One thing that no two rows may share. `parts` are SQL expressions; `how` is constraint, index or exclude."""

    parts: tuple[str, ...]
    how: str = "constraint"
    where: str = ""
    timing: str = ""
    nulls: str = ""
    method: str = "btree"
    operator: str = "="

    def exclusion(self, timing: str) -> str:
        parts = ", ".join(f"({part}) WITH {self.operator}" for part in self.parts)
        return (
            f"EXCLUDE USING {self.method} ({parts})" + (f" WHERE ({self.where})" if self.where else "") + f" {timing}"
        )

    def constraint(self, timing: str) -> str:
        return f"UNIQUE {self.nulls} ({', '.join(self.parts)}) {timing}"


@dataclass(frozen=True)
class Trigger:
    """What the table does to rows on its own: `does` is lower, refuse, drop, stamp, nothing, defer or hold."""

    does: str
    column: str = ""
    value: str = ""
    events: str = "INSERT OR UPDATE"


@dataclass(frozen=True)
class Table:
    """Everything about the random table."""

    key_kind: str
    key_how: str
    columns: tuple[Column, ...]
    uniques: tuple[Unique, ...] = ()
    checks: tuple[str, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    self_reference: str | None = None
    """The timing of the foreign key of supervisor_id."""
    team_reference: str | None = None
    teams_readable: bool = True
    outside: bool = False
    """Whether another table references some members."""
    partitions: int = 0
    hidden: str | None = None
    """Row level security: only rows for which this holds are there."""
    refused: str | None = None
    """Row level security: the rows that may be written."""

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def loaded(self) -> tuple[Column, ...]:
        """What the file fills."""
        return tuple(column for column in self.columns if column.in_file and not column.generated)


def create(table: Table, schema: str, name: str) -> list[str]:
    """The statements that make the table."""
    where = f"{quoted(schema)}.{quoted(name)}"
    parts = [*_columns(table, schema, table.columns), *_checks(table)]
    key = quoted(KEY)
    parts += [f"{table.key_how} ({key})"] if table.key_how != "INDEX" else []
    parts += [unique.constraint(unique.timing) for unique in table.uniques if unique.how == "constraint"]
    parts += [unique.exclusion(unique.timing) for unique in table.uniques if unique.how == "exclude"]
    by = f" PARTITION BY HASH ({key})" if table.partitions else ""
    statements = [f"CREATE TABLE {where} ({', '.join(parts)}){by}"]
    for number in range(table.partitions):
        statements += _partition(table, schema, name, number)
    if table.key_how == "INDEX":
        statements.append(f"CREATE UNIQUE INDEX ON {where} ({key})")
    for unique in table.uniques:
        if unique.how == "index":
            filtered = f" WHERE {unique.where}" if unique.where else ""
            expressions = ", ".join(f"({part})" for part in unique.parts)
            statements.append(f"CREATE UNIQUE INDEX ON {where} ({expressions}) {unique.nulls}{filtered}")
    return statements + _references(table, schema, name, deferred=False) + _triggers(table, schema, name)


def create_copy(table: Table, schema: str, name: str) -> list[str]:
    """The statements that make the copy, in which the final state is judged."""
    where = f"{quoted(schema)}.{quoted(name)}"
    parts = [
        *_columns(table, schema, table.columns),
        *_checks(table),
        f"{table.key_how.replace('INDEX', 'UNIQUE')} ({quoted(KEY)})",
    ]
    timing = "DEFERRABLE INITIALLY DEFERRED"
    for unique in table.uniques:
        plain = unique.how != "exclude" and not unique.where and all(part.startswith('"') for part in unique.parts)
        parts.append(unique.constraint(timing) if plain else unique.exclusion(timing))
    statements = [f"CREATE TABLE {where} ({', '.join(parts)})"]
    return statements + _references(table, schema, name, deferred=True) + _triggers(table, schema, name)


def _columns(table: Table, schema: str, columns: tuple[Column, ...]) -> list[str]:
    return [
        f"{quoted(c.name)} {c.sql.replace('{s}', quoted(schema))} {c.extra}{' NOT NULL' if c.required else ''}"
        for c in columns
    ]


def _checks(table: Table) -> list[str]:
    return [f"CONSTRAINT check_{number} CHECK ({check})" for number, check in enumerate(table.checks)]


def _partition(table: Table, schema: str, name: str, number: int) -> list[str]:
    """A partition that is attached, its columns in another order."""
    where, part = f"{quoted(schema)}.{quoted(name)}", f"{quoted(schema)}.{quoted(f'{name}_{number}')}"
    columns = table.columns[number:] + table.columns[:number]
    key = " NOT NULL" if table.key_how == "PRIMARY KEY" else ""
    texts = _columns(table, schema, columns)
    texts = [text + (key if c.name == KEY and not c.required else "") for c, text in zip(columns, texts, strict=True)]
    bounds = f"FOR VALUES WITH (MODULUS {table.partitions}, REMAINDER {number})"
    return [
        f"CREATE TABLE {part} ({', '.join([*texts, *_checks(table)])})",
        f"ALTER TABLE {where} ATTACH PARTITION {part} {bounds}",
    ]


def _references(table: Table, schema: str, name: str, *, deferred: bool) -> list[str]:
    where, key = f"{quoted(schema)}.{quoted(name)}", quoted(KEY)
    statements = []
    always = "DEFERRABLE INITIALLY DEFERRED"
    if table.self_reference is not None:
        timing = always if deferred else table.self_reference
        statements.append(
            f"ALTER TABLE {where} ADD CONSTRAINT own_key FOREIGN KEY ({SUPERVISOR}) REFERENCES {where} ({key}) {timing}"
        )
    if table.team_reference is not None:
        timing = always if deferred else table.team_reference
        teams = f"{quoted(schema)}.teams" if table.teams_readable else f"{quoted(schema)}.closed_teams"
        statements.append(
            f"ALTER TABLE {where} ADD CONSTRAINT team_key FOREIGN KEY ({TEAM}) REFERENCES {teams} {timing}"
        )
    if table.outside:
        outside = f"{quoted(schema)}.{quoted(name + '_outside')}"
        timing = always if deferred else ""
        statements.append(
            f"CREATE TABLE {outside} (member {KEY_TYPES[table.key_kind]} REFERENCES {where} ({key}) {timing})"
        )
    return statements


def _triggers(table: Table, schema: str, name: str) -> list[str]:
    where = f"{quoted(schema)}.{quoted(name)}"
    statements = []
    for number, trigger in enumerate(table.triggers):
        function = f"{quoted(schema)}.{quoted(f'{name}_does_{number}')}"
        column, value = f"NEW.{quoted(trigger.column)}", literal(trigger.value)
        if trigger.does == "hold":
            column = f"OLD.{quoted(trigger.column)}"
        refuse = f"IF {column}::text = {value} THEN RAISE EXCEPTION 'refused: %', {column}; END IF;"
        body = {
            "lower": f"{column} := lower({column}::text);",
            "refuse": refuse,
            "drop": f"IF {column}::text = {value} THEN RETURN NULL; END IF;",
            "stamp": f"{column} := 'stamped';",
            "nothing": "",
            "defer": refuse,
            "hold": f"IF {column}::text = {value} THEN RETURN NULL; END IF; RETURN OLD;",
        }[trigger.does]
        statements.append(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN {body} RETURN NEW; END $f$"
        )
        when = {"nothing": "AFTER", "defer": "AFTER"}.get(trigger.does, "BEFORE")
        events = "DELETE" if trigger.does == "hold" else trigger.events
        kind, timing = ("CONSTRAINT ", "DEFERRABLE INITIALLY DEFERRED ") if trigger.does == "defer" else ("", "")
        statements.append(
            f"CREATE {kind}TRIGGER t{number} {when} {events} ON {where} {timing}FOR EACH ROW EXECUTE FUNCTION {function}()"
        )
    return statements + _policies(table, where)


def _policies(table: Table, where: str) -> list[str]:
    if table.hidden is None and table.refused is None:
        return []
    using, check = table.hidden or "true", table.refused or table.hidden or "true"
    return [
        f"ALTER TABLE {where} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY seen ON {where} USING ({using}) WITH CHECK (({check}) IS NOT FALSE AND ({using}))",
    ]


def drop(table: Table, schema: str, name: str) -> list[str]:
    """The statements that remove it, and its functions."""
    functions = [f"DROP FUNCTION {quoted(schema)}.{quoted(f'{name}_does_{n}')}()" for n in range(len(table.triggers))]
    outside = [f"DROP TABLE {quoted(schema)}.{quoted(name + '_outside')}"] if table.outside else []
    return [*outside, f"DROP TABLE {quoted(schema)}.{quoted(name)}", *functions]
