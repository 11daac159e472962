"""The plan by which the CSV's text becomes the live table's types. Made once from the table, for all rows.

Each column has its text's shape checked by pandas, a batch at a time, and is then cast by PostgreSQL
as it is copied into the staging table. The shape comes first because PostgreSQL guesses: it reads
`now`, `1_000`, `03/01/2021`, drops a timestamp's offset, rounds to numeric(p,s), cuts to varchar(n).
"""

import re
from dataclasses import dataclass, replace
from functools import cache

from tasks.columns import KEY
from tasks.database import quoted, statement
from tasks.errors import ObjectInvalid, SchemaMismatch
from tasks.options import SchemaContract
from tasks.schema import Check, TableColumn, TableSchema

REJECT_COLUMNS = ("rejected_line", "rejected_column", "rejected_reason")
"""They head a reject file; a mended one is loaded with them still there."""

_TIME = r"\d{2}:\d{2}(:\d{2}(\.\d{1,7})?)?"
_OFFSET = r"(Z|[+-]\d{2}(:?\d{2})?)?"
INTEGER = r"[+-]?\d+"
DECIMAL = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
BOOLEAN = r"(?i:true|false|t|f|yes|no|y|n|on|off|1|0)"
DATE = rf"\d{{4}}-\d{{2}}-\d{{2}}([T ]{_TIME}{_OFFSET})?"
CLOCK = _TIME + _OFFSET
ARRAY = r"(?s:\[.*\]|\{.*\})"

SHAPES = {
    "smallint": (INTEGER, "an integer"),
    "integer": (INTEGER, "an integer"),
    "bigint": (INTEGER, "an integer"),
    "numeric": (DECIMAL, "a number"),
    "real": (DECIMAL, "a number"),
    "double precision": (DECIMAL, "a number"),
    "boolean": (BOOLEAN, "true or false"),
    "date": (DATE, "an ISO 8601 date"),
    "timestamp without time zone": (DATE, "an ISO 8601 date-time of at most 7 fraction digits"),
    "timestamp with time zone": (DATE, "an ISO 8601 date-time of at most 7 fraction digits"),
    "time without time zone": (CLOCK, "a time of day"),
    "time with time zone": (CLOCK, "a time of day"),
}
TEXTS = {"text", "character varying", "character", "bpchar"}
EXACTLY_EQUAL = {
    *SHAPES, *TEXTS, "uuid", "jsonb", "bytea", "inet", "cidr", "macaddr", "interval",
} - {"character", "bpchar"}  # fmt: skip
"""Types whose = is the same as being the same. The rest (json has none, citext folds case) compare as text."""
_TYPE = re.compile(
    r"(?P<name>[a-z ]+?)(?:\((?P<first>\d+)(?:,(?P<second>-?\d+))?\))?(?P<rest> with(?:out)? time zone)?"
)


@dataclass(frozen=True)
class AlignedColumn:
    """How one column of the file goes into the staging table and, unless ignored, on into the table."""

    name: str
    staged_as: str = "text"
    shape: str | None = None
    """What the whole text must match, before PostgreSQL sees it."""
    expected: str = ""
    check: str | None = None
    """SQL that must hold for the staged value, after PostgreSQL has cast it."""
    value: str | None = None
    """SQL for the table's value, from the staging table `s`; None for a column that the table lacks."""
    required: bool = False
    equal: bool = True
    """Whether the type's own equality is exact; else values are compared as text."""


@dataclass(frozen=True)
class Alignment:
    """The plan for one file and one table."""

    columns: tuple[AlignedColumn, ...]
    ignored: tuple[str, ...]
    """Columns of the file that the table lacks, or that it computes itself."""
    untouched: tuple[str, ...]
    """Columns of the table that the file lacks."""
    added: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    """The table's own, as far as they can be asked of a staged row."""

    @property
    def loaded(self) -> tuple[AlignedColumn, ...]:
        """The columns that reach the table."""
        return tuple(column for column in self.columns if column.value is not None)

    def position(self, name: str) -> int:
        """Where a column stands in the file, from 0."""
        return [column.name for column in self.columns].index(name)

    def has(self, name: str) -> bool:
        """Whether a column of that name reaches the table."""
        return any(column.name == name for column in self.loaded)


def align(header: list[str], table: TableSchema, contract: SchemaContract = "ignore") -> Alignment:
    """The plan for a file with that header.

    Raises:
        ObjectInvalid: the header has no key, or a name twice.
        SchemaMismatch: with `fail`, the table lacks a column of the file; or a new row could not be
            inserted, since a column that the file lacks is NOT NULL without a default.
    """
    if KEY not in header or len(set(header)) < len(header) or "" in header:
        raise ObjectInvalid(
            f"line 1: expected a header of distinct column names with {KEY} among them, found {len(header)} names, "
            f"{len(set(header))} of them distinct, {KEY} {'present' if KEY in header else 'absent'}."
        )
    lacking = tuple(name for name in header if table.column(name) is None and name not in REJECT_COLUMNS)
    added = lacking if contract == "evolve" else ()
    new = {name: TableColumn(name, kind, kind) for name in added for kind in [default_types().get(name, "text")]}
    columns = tuple(align_column(name, table.column(name) or new.get(name)) for name in header)
    if contract == "fail" and lacking:
        raise SchemaMismatch(
            f"{table.quoted} has no columns to load {', '.join(lacking)} into, and schema_contract is fail. "
            "Add them, or load with schema_contract ignore or evolve."
        )
    blocking = [c.name for c in table.columns if c.name not in header and c.required and not c.defaulted and c.writable]
    if blocking:
        raise SchemaMismatch(
            f"{table.quoted}: {', '.join(blocking)} must have a value, and the file has no such column. "
            "Give the column a default, or extract it."
        )
    ignored = tuple(c.name for c in columns if c.value is None and c.name not in REJECT_COLUMNS)
    untouched = tuple(c.name for c in table.columns if c.name not in header)
    as_in_table = {c.name for c in columns if c.value == f"s.{quoted(c.name)}"}
    checks = tuple(check for check in table.checks if set(check.columns) <= as_in_table)
    return Alignment(columns, ignored, untouched, added, checks)


def align_column(name: str, column: TableColumn | None) -> AlignedColumn:
    """The plan for one column; `None` for one that the table lacks."""
    if column is None or not column.writable:
        return AlignedColumn(name)
    base, first, second = parsed(column.base)
    staged = quoted(name)
    shape, expected = SHAPES.get(base, (None, ""))
    plan = AlignedColumn(
        name,
        staged_as="text" if base in TEXTS else column.declared,
        shape=shape,
        expected=expected,
        value=f"s.{staged}",
        required=column.required,
        equal=base in EXACTLY_EQUAL,
    )
    if base.endswith("[]"):
        value = array_value(staged, column.declared)
        return replace(plan, staged_as="text", shape=ARRAY, expected="a JSON array", value=value)
    if base == "timestamp without time zone":  # PostgreSQL would drop the offset; the table holds UTC
        return replace(plan, staged_as="timestamptz", value=f"(s.{staged} AT TIME ZONE 'UTC')")
    if base in TEXTS and first:
        return replace(plan, check=f"char_length({staged}) <= {first}", expected=f"at most {first} characters")
    if base == "numeric" and first:
        limits = f"numeric({first},{second or 0})"
        check = f"{staged} = {staged}::{limits}"
        return replace(plan, staged_as="numeric", check=check, expected=f"a number that {limits} holds")
    return plan


@cache
def default_types() -> dict[str, str]:
    """Column to type, as tasks/sql/department_members.sql creates them."""
    return dict(re.findall(r"^    (\w+) +(\w+)", statement("department_members"), re.MULTILINE))


def array_value(staged: str, declared: str) -> str:
    """A PostgreSQL array from the JSON array that the LMS wrote, or from PostgreSQL's own form."""
    from_json = f"ARRAY(SELECT jsonb_array_elements_text(s.{staged}::jsonb))"
    return f"CASE WHEN s.{staged} LIKE '[%' THEN {from_json} ELSE s.{staged}::text[] END::{declared}"


def parsed(base: str) -> tuple[str, str | None, str | None]:
    """
    >>> parsed("numeric(5,2)"), parsed("timestamp(3) without time zone"), parsed("text[]")
    (('numeric', '5', '2'), ('timestamp without time zone', '3', None), ('text[]', None, None))
    """
    match = _TYPE.fullmatch(base)
    if match is None:
        return base, None, None
    return match["name"] + (match["rest"] or ""), match["first"], match["second"]
