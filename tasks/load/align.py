"""The plan for converting the CSV's text to the live table's types; made once, for all rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tasks.columns import REJECT_COLUMNS
from tasks.errors import ObjectInvalid, SchemaMismatch
from tasks.load.database import quoted
from tasks.load.formats import TEXTS, Format, differs, format_of, parsed
from tasks.load.schema import TableColumn, TableSchema
from tasks.options import SchemaContract
from tasks.streams import Stream

# https://www.postgresql.org/docs/current/ddl-system-columns.html
SYSTEM_COLUMNS = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}
TEXT = TableColumn("", "text", "text")
LONGEST_NAME = 63  # bytes; PostgreSQL cuts longer names (NAMEDATALEN)


@dataclass(frozen=True)
class AlignedColumn:
    """How one column of the file goes into the staging table and, unless ignored, on into the table."""

    name: str
    number: int = 0
    """Its position in the file, from 0."""
    is_loaded: bool = False
    """Whether the table has such a column, which it does not compute itself."""
    declared: str = "text"
    base: str = "text"
    collation: str | None = None
    required: bool = False
    format: Format = Format()
    has_domain: bool = False
    is_array: bool = False
    """Its format is then about the elements."""
    is_new: bool = False
    """With `evolve`: the load adds it to the table."""
    is_key: bool = False

    @property
    def staged(self) -> str:
        """Its name in the staging table: a neutral one, so that no two can clash."""
        return f"{'c' if self.is_loaded else 'x'}{self.number}"

    @property
    def staged_as(self) -> str:
        """Its type in the staging table. A key has the table's own, so that both distinguish the same keys."""
        if self.is_key and self.format.staged_as == "text":
            return self.declared + (f" COLLATE {self.collation}" if self.collation else "")
        return self.format.staged_as + ("[]" if self.is_array else "")

    @property
    def cast_check(self) -> str | None:
        """SQL that must hold of the staged value, or fails; None where its type alone says what it may be."""
        checks = [self.format.cast_check] if self.format.cast_check else []
        if self.has_domain and self.staged_as != self.declared:
            # The domain is asked here, since a row that it refuses must not take part in finding duplicates: by a cast
            # that may fail, for num_nulls itself is true of any value.
            checks.append(f"num_nulls(({self.format.value})::{self.declared}) >= 0")
        return " AND ".join(f"({check})" for check in checks).replace("{c}", self.staged) or None

    @property
    def value(self) -> str:
        """SQL for the table's value, from the staging table `s`."""
        return self.format.value.replace("{c}", f"s.{self.staged}")

    @property
    def stored(self) -> str:
        """SQL for the value that the table `t` holds, before new columns are added."""
        return f"NULL::{self.declared}" if self.is_new else f"t.{quoted(self.name)}"

    @property
    def differs(self) -> str:
        """SQL that says whether the table `t` holds another value than the one staged, before new columns are added."""
        return self.differs_from(self.stored)

    def differs_from(self, stored: str) -> str:
        """SQL that says whether a stored value is another than the one staged."""
        return differs(stored, self.value, "array" if self.is_array else self.base, self.declared)


@dataclass(frozen=True)
class Alignment:
    """The plan for one file and one table."""

    stream: Stream
    columns: tuple[AlignedColumn, ...]
    """All columns of the file, in order, by the names that PostgreSQL would keep of theirs."""
    ignored: tuple[str, ...]
    """Columns of the file that the table lacks, or that it computes itself."""
    untouched: tuple[str, ...]
    """Columns of the table that the file lacks."""

    @property
    def loaded(self) -> tuple[AlignedColumn, ...]:
        """The columns that reach the table."""
        return tuple(column for column in self.columns if column.is_loaded)

    @property
    def staged(self) -> tuple[AlignedColumn, ...]:
        """The columns that reach the staging table: those loaded, and the one that shows which of two rows is newer."""
        edited = self.edited
        return self.loaded if edited is None or edited.is_loaded else (*self.loaded, edited)

    @property
    def edited(self) -> AlignedColumn | None:
        """What shows which of two rows is newer: the table's column if it keeps it whole, else the file's text."""
        column = next((column for column in self.columns if column.name == self.stream.edited_column), None)
        if column is None or column.is_loaded and column.format.keeps_date_times and not column.is_array:
            return column
        return AlignedColumn(column.name, column.number)

    @property
    def added(self) -> tuple[AlignedColumn, ...]:
        """The columns that the load adds to the table."""
        return tuple(column for column in self.columns if column.is_new)

    @property
    def key(self) -> AlignedColumn:
        """The column on which rows are matched."""
        return next(column for column in self.columns if column.is_key)

    def find(self, name: str | None) -> AlignedColumn | None:
        """The column of that name, if it reaches the table."""
        return next((column for column in self.loaded if column.name == name), None)


def align(
    header: list[str],
    table: TableSchema,
    contract: SchemaContract = "ignore",
    new_types: Mapping[str, TableColumn] = MappingProxyType({}),
) -> Alignment:
    """The plan for a file with that header.

    Args:
        new_types: the types of columns that `evolve` may add, where they are known; others become text.

    Raises:
        ObjectInvalid: the header has no key, or a name twice.
        SchemaMismatch: with `fail`, the table lacks a column of the file; a name in the file differs from a column only
            in letter case or spaces; or new rows cannot be inserted because a column that the file lacks is NOT NULL
            without a default.
    """
    names = [cut_name(name) for name in header]
    key_name = table.stream.key_column
    if key_name not in names or len(set(names)) < len(names) or "" in names:
        raise ObjectInvalid(
            f"line 1: expected a header of distinct column names that include {key_name}; found {len(names)} names, "
            f"{len(set(names))} of them distinct, with {key_name} {'present' if key_name in names else 'missing'}."
            f"{hint(names, [key_name])}"
        )
    refuse_near_names(names, table)
    lacking = tuple(name for name in names if table.column(name) is None and name not in REJECT_COLUMNS)
    if contract == "fail" and lacking:
        raise SchemaMismatch(
            f"{table.quoted} has no column for {', '.join(lacking)}, and schema_contract is fail. Add the columns, or "
            "load with schema_contract ignore or evolve."
        ).about_one_scope()
    added = lacking if contract == "evolve" else ()
    if reserved := sorted(SYSTEM_COLUMNS & set(added)):
        raise SchemaMismatch(
            f"line 1: the header names {', '.join(reserved)}, which is reserved by PostgreSQL and cannot be added as "
            "a column. Nothing was loaded. Rename it, or load with schema_contract ignore."
        ).about_one_scope()
    columns = tuple(
        align_column(name, number, table, new_types.get(name, TEXT) if name in added else None)
        for number, name in enumerate(names)
    )
    key = next(column for column in columns if column.is_key)
    if key.format.staged_as == "text" and parsed(key.base)[0] not in TEXTS:
        raise SchemaMismatch(
            f"{table.quoted}: {key_name} has type {key.declared}, which cannot match rows exactly. Make it uuid, text "
            "or an integer type."
        )
    blocking = [c.name for c in table.columns if c.name not in names and c.required and not c.defaulted and c.writable]
    if blocking:
        raise SchemaMismatch(
            f"{table.quoted}: {', '.join(blocking)} must have a value, but the file has no such column. Give the "
            "column a default, drop its NOT NULL, or add it to the extract."
        )
    ignored = tuple(c.name for c in columns if not c.is_loaded and c.name not in REJECT_COLUMNS)
    untouched = tuple(c.name for c in table.columns if c.name not in names)
    return Alignment(table.stream, columns, ignored, untouched)


def align_column(name: str, number: int, table: TableSchema, new: TableColumn | None) -> AlignedColumn:
    """The plan for one column of the file."""
    column = new or table.column(name)
    is_key = name == table.stream.key_column
    if column is None or not column.writable:
        return AlignedColumn(name, number, is_key=is_key)
    is_array = column.element is not None
    declared, base = (column.element, column.element_base) if is_array else (column.declared, column.base)
    wanted = format_of(str(declared), str(base), array=is_array)
    return AlignedColumn(
        name,
        number,
        True,
        column.declared,
        column.base,
        column.collation,
        column.required,
        wanted,
        has_domain=column.has_domain,
        is_array=is_array,
        is_new=new is not None,
        is_key=is_key,
    )


def cut_name(name: str) -> str:
    """As much of a name as PostgreSQL keeps: 63 bytes, cut between characters.

    >>> len(cut_name("a" * 70)), cut_name("ü" * 40) == "ü" * 31
    (63, True)
    """
    return name.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore")


def refuse_near_names(names: list[str], table: TableSchema) -> None:
    """Raise SchemaMismatch for names that differ from a column only in letter case or spaces: surely a mistake."""
    columns = {plain(column.name): column.name for column in table.columns}
    near = [(name, columns[plain(name)]) for name in names if table.column(name) is None and plain(name) in columns]
    if near:
        pairs = ", ".join(f"{name!r} (the table has {column!r})" for name, column in near)
        raise SchemaMismatch(
            f"line 1: the header names {pairs}; letter case and spaces matter. Nothing was loaded. Correct the "
            "header, or rename the table's column."
        ).about_one_scope()


def hint(names: list[str], keys: Sequence[str]) -> str:
    """What may be wrong with a header that lacks the key."""
    if near := [name for name in names if plain(name) in keys]:
        return f" {near[0]!r} is not {plain(near[0])}: letter case and spaces matter."
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        return " Its fields seem to be separated by something other than commas."
    return ""


def plain(name: str) -> str:
    """
    >>> plain(" First_Name ")
    'first_name'
    """
    return "".join(name.split()).casefold()
