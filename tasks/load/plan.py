"""One table's upsert: the SQL fragments that fill the templates in tasks/load/sql/."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.columns import DEPARTED_AT
from tasks.load.align import AlignedColumn, Alignment
from tasks.load.database import literal, quoted
from tasks.load.formats import JSON, TEXTS, is_null, moment, parsed
from tasks.load.schema import TableSchema
from tasks.streams import Scope

STAGED = "pg_temp.staging AS s"
CHANGED = f"{STAGED} JOIN pg_temp.changes AS c USING (_record)"
# Not char(n), which ignores blanks at the end when it compares.
_EXACT_KEYS = {"uuid", "bigint", "integer", "smallint", *TEXTS} - {"character", "bpchar"}


@dataclass(frozen=True)
class Merge:
    """One table's upsert.

    Args:
        keep_newer: do not replace a row whose `date_edited` in the table is later than in the file.
        revive: clear `departed_at` of members who have returned.
        scope: whose rows are loaded; None for a plain file, which has none.
        departure_statement: what becomes of leavers, as SQL over `pg_temp.leavers AS l` that ends in AND; None where
            they stay.
        without_new: leave out columns that the table is yet to get, since a dry run adds none.
    """

    table: TableSchema
    alignment: Alignment
    keep_newer: bool = False
    revive: bool = False
    scope: Scope | None = None
    departure_statement: str | None = None
    without_new: bool = False

    @property
    def key(self) -> str:
        """The column on which rows are matched."""
        return self.table.stream.key_column

    @property
    def columns(self) -> list[AlignedColumn]:
        """The columns that are written, in order; the key among them."""
        return [c for c in self.alignment.loaded if not (self.revive and c.name == DEPARTED_AT)]

    @property
    def overruled(self) -> list[str]:
        """Columns of the file that the load sets itself."""
        return [column.name for column in self.alignment.loaded if self.revive and column.name == DEPARTED_AT]

    @property
    def compared(self) -> list[AlignedColumn]:
        """The columns that say whether a row has changed: the key too, where different keys may be equal."""
        key = self.table.column(self.key)
        exact = key is not None and parsed(key.base)[0] in _EXACT_KEYS and not key.folds
        return [column for column in self.columns if not column.is_key or not exact]

    @property
    def target(self) -> dict[str, str]:
        """The parts that every statement needs."""
        return {"table": self.table.quoted, "key": quoted(self.key), "staged_key": self.alignment.key.staged}

    def differs(self, *, read_back: bool = False) -> str:
        """SQL that says whether the table's row `t` differs from the staged row `s`."""
        columns = [c for c in self.compared if not (read_back and self.without_new and c.is_new)]
        stored = {c: f"t.{quoted(c.name)}" if read_back else c.stored for c in columns}
        json = [c for c in columns if c.base == "jsonb"]
        parts = [c.differs_from(stored[c]) for c in columns if c not in json]
        if json:
            # Looking for the same bytes first takes a quarter of the time that jsonb's own comparison takes.
            images = ", ".join(stored[c] for c in json), ", ".join(c.value for c in json)
            by_value = " OR ".join(c.differs_from(stored[c]) for c in json)
            parts.append(
                f"CASE WHEN record_image_eq(ROW({images[0]}), ROW({images[1]})) THEN false ELSE {by_value} END"
            )
        return " OR ".join([*parts, *([f"t.{DEPARTED_AT} IS NOT NULL"] if self.revive else [])]) or "false"

    def newer(self, *, excluded: bool = False) -> str | None:
        """SQL that says whether the table's row was edited later than the staged (EXCLUDED) one, where it matters."""
        return self.edited_later(excluded=excluded) if self.keep_newer else None

    def edited_later(self, *, excluded: bool = False) -> str | None:
        """SQL that says whether the table's row was edited later than the staged (EXCLUDED) one; None if unknown."""
        edited = self.alignment.find(self.table.stream.edited_column)
        if edited is None:
            return None
        stored = edited.stored
        value = f"EXCLUDED.{quoted(edited.name)}" if excluded else edited.value
        if parsed(edited.base)[0] in TEXTS:
            stored, value = moment(stored), moment(value)
        return f"({stored} > {value}) IS TRUE"

    def is_newer(self) -> str:
        """SQL that says whether the table's row stays, since it is newer than the staged one.

        Another scope's row that was edited later stays in any load: its own snapshot was taken after a move, this one
        before. Not so a leaver's.
        """
        found = [newer] if (newer := self.newer()) else []
        scope_column = self.alignment.find(self.table.stream.scope_column)
        if self.scope is not None and scope_column is not None and (later := self.edited_later()):
            stored, staged = scope_column.stored, f"({scope_column.value})"
            present = f"AND t.{DEPARTED_AT} IS NULL " if self.table.column(DEPARTED_AT) is not None else ""
            found.append(f"(lower({stored}::text) <> lower({staged}::text) {present}AND {later}) IS TRUE")
        return " OR ".join(found) or "false"

    @property
    def may_skip_rows(self) -> bool:
        """Whether the table may leave a row as it was without an error: by a trigger, or since it is newer."""
        return self.table.changes_rows or self.newer() is not None

    @property
    def was_written(self) -> str:
        """SQL that says whether this load wrote the staged row `s`; noted only where the table may skip rows."""
        noted = f"EXISTS (SELECT FROM pg_temp.written AS w WHERE w._key = s.{self.alignment.key.staged})"
        return noted if self.may_skip_rows else "true"

    @property
    def of_scope(self) -> str | None:
        """SQL that says whether a stored row `t` belongs to the scope, in a way that an index can serve."""
        column = self.table.column(self.table.stream.scope_column)
        if self.scope is None or column is None:
            return None
        if column.base == "uuid":
            return f"t.{quoted(column.name)} = {literal(self.scope.id)}::uuid"
        # a text column may hold GUIDs in either case
        return f"lower(t.{quoted(column.name)}::text) = {literal(self.scope.id)}"

    @property
    def in_scope(self) -> str:
        """SQL that says whether a stored row `t` is one of those that the file speaks for."""
        if self.of_scope is not None:
            gone = f" AND t.{DEPARTED_AT} IS NULL" if self.table.column(DEPARTED_AT) is not None else ""
            return f"{self.of_scope}{gone}"
        own = f"t.{quoted(self.key)}"
        staged = f"EXISTS (SELECT FROM pg_temp.staging AS f WHERE f.{self.alignment.key.staged} = {own})"
        return f"({staged} OR EXISTS (SELECT FROM pg_temp.known AS f WHERE f._key = {own}))"

    @property
    def custom_fields(self) -> AlignedColumn | None:
        """The column of custom fields, if it is one whose keys can be looked into."""
        column = self.alignment.find(self.table.stream.custom_fields_column)
        kept = column is not None and not column.is_new and parsed(column.base)[0] in {*JSON, *TEXTS}
        return column if kept else None

    def compare_parts(self) -> dict[str, str]:
        """The parts of compare.sql."""
        returns = f"t.{DEPARTED_AT} IS NOT NULL" if self.revive else "false"
        lost = [
            f"CASE WHEN NOT {is_null(f't.{quoted(c.name)}', c.base)} AND {is_null(c.value, c.base)} "
            f"THEN {c.number + 1} END"
            for c in self.compared
            if not c.is_new and not c.required
        ]
        lost += [f"CASE WHEN {self.custom_fields.differs} THEN -1 END"] if self.custom_fields else []
        emptied = f"array_remove(ARRAY[{', '.join(lost)}]::integer[], NULL)"
        if self.scope is not None:
            emptied = f"CASE WHEN {self.in_scope} THEN {emptied} ELSE '{{}}' END"
        parts = {"differs": self.differs(), "returns": returns, "is_newer": self.is_newer(), "emptied": emptied}
        return {**self.target, **parts}

    def upsert_parts(self, rows: str, *, in_order: bool) -> dict[str, str]:
        """The parts of upsert.sql: for all rows STAGED, for those CHANGED, or for the wanted ones of them, in order."""
        written = [column for column in self.columns if not (self.without_new and column.is_new)]
        changing = [quoted(c.name) for c in self.compared if c in written] + ([DEPARTED_AT] if self.revive else [])
        newer = self.newer(excluded=True)
        return {
            **self.target,
            "columns": ", ".join([*(quoted(c.name) for c in written), *([DEPARTED_AT] if self.revive else [])]),
            "values": ", ".join([*(c.value for c in written), *(["NULL"] if self.revive else [])]),
            "assignments": ", ".join(f"{name} = EXCLUDED.{name}" for name in changing or [quoted(self.key)]),
            "where_not_older": f" WHERE NOT {newer}" if newer else "",
            "rows": f"{rows} JOIN wanted ON node = _record" if in_order else rows,
            "in_order": "ORDER BY place" if in_order else "",
            "record_written": f"INSERT INTO pg_temp.written SELECT {quoted(self.key)} FROM merged"
            if in_order or self.may_skip_rows
            else "SELECT count(*) FROM merged",
            # a SELECT of nothing; the template goes on with a condition
            "departures": self.departure_statement or "SELECT FROM pg_temp.leavers AS l WHERE",
            "returning": "RETURNING 1" if self.departure_statement else "",
        }

    def changes(self, show_values: bool) -> str:
        """SQL that says in which columns a stored row and the staged one differ, with values or without."""
        found = []
        for column in self.compared:
            text = literal(column.name)
            if show_values:
                stored = "NULL" if column.is_new else f"t.{quoted(column.name)}"
                text += f" || ' ' || {shown(stored)} || ' -> ' || {shown(column.value)}"
            found.append(f"CASE WHEN {column.differs} THEN {text} END")
        if self.revive:
            found.append(f"CASE WHEN t.{DEPARTED_AT} IS NOT NULL THEN '{DEPARTED_AT}' END")
        return f"array_to_string(ARRAY[{', '.join(found)}]::text[], ', ')"

    def image(self, of: Sequence[str] = ()) -> str:
        """A subquery of the changed rows as they would be in the table, under its own column names.

        Columns that are not loaded keep their stored values; in a new row they get their default, or null where that
        differs from call to call.
        """
        loaded = {column.name: column for column in self.columns}
        key = self.alignment.key.staged
        is_new = f"t.{quoted(self.key)} IS NULL"
        names = of or list(loaded)
        generated = [c for c in self.table.columns if c.name in names and c.generated and c.default]
        values = []
        for name in [c.name for c in self.table.columns if not c.generated] if generated else names:
            column = self.table.column(name)
            if name in loaded:
                value = f"({loaded[name].value})::{loaded[name].declared}"
            elif self.revive and name == DEPARTED_AT:
                value = "NULL::timestamptz"
            elif column and column.default and not column.generated:
                value = f"CASE WHEN {is_new} THEN {column.default} ELSE t.{quoted(name)} END"
            else:
                value = f"t.{quoted(name)}"
            values.append(f"{value} AS {quoted(name)}")
        image = (
            f'SELECT c._record AS "#record", s.{key} AS "#key", {", ".join(values)} FROM pg_temp.changes AS c '
            "JOIN pg_temp.staging AS s USING (_record) "
            f"LEFT JOIN {self.table.quoted} AS t ON t.{quoted(self.key)} = s.{key}"
        )
        made = [f"({c.default})::{c.declared} AS {quoted(c.name)}" for c in generated]
        return f"SELECT *, {', '.join(made)} FROM ({image}) AS {quoted(self.table.table)}" if made else image


def shown(value: str) -> str:
    """SQL for a value as a person reads it."""
    return f"coalesce(quote_literal(({value})::text), 'null')"
