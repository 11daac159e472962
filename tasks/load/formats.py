"""Which texts each PostgreSQL type takes exactly, and how a type's stored text form is compared.

PostgreSQL guesses: it reads `now`, `1_000` and `03/01/2021`, drops a timestamp's offset, rounds to numeric(p,s) and to
a timestamp's precision, cuts to varchar(n). So a type that is known here has a pattern that leaves nothing to guess;
any other is cast and compared back with the text.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

# up to 7 digits: the LMS writes fractions of a second to 100 ns
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,7})?)?"
_MIDNIGHT = r"24:00(:00(\.0{1,7})?)?"  # the end of the day, which PostgreSQL's time types can hold
_OFFSET = r"(Z|[+-]\d{2}(:?\d{2})?)"
INTEGER = r"[+-]?\d+"  # PostgreSQL 16 would also read 0x1F and 1_000
DECIMAL = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
BOOLEAN = r"(?i:true|false|t|f|yes|no|y|n|on|off|1|0)"  # PostgreSQL would also take beginnings such as `tru`
DATE_TIME = rf"\d{{4}}-\d{{2}}-\d{{2}}([T ]{_CLOCK}{_OFFSET}?)?"
TIME = rf"({_CLOCK}|{_MIDNIGHT})"
_HEX4 = "[0-9a-fA-F]{4}"
# PostgreSQL takes a dash after any four digits, and braces around them all.
UUID = rf"({_HEX4}-?){{7}}{_HEX4}|\{{({_HEX4}-?){{7}}{_HEX4}\}}"
# The second form is PostgreSQL's escape format without an escape: the bytes themselves.
BYTEA = r"\\x([0-9a-fA-F]{2})*|[^\\]*"
_BYTE = r"(0|[1-9]\d{0,2})"
INET = rf"{_BYTE}(\.{_BYTE}){{3}}(/\d{{1,2}})?|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(/\d{{1,3}})?"
MACADDR = r"[0-9a-fA-F]{2}([:.-]?[0-9a-fA-F]{2}){5}"
# PostgreSQL's own style, or ISO 8601. No fractions but of a second: PostgreSQL spreads others over smaller units.
INTERVAL = (
    r"([+-]?\d+ (year|mon|month|week|day|hour|minute|second)s?( |$))*([+-]?\d{2,}:[0-5]\d(:[0-5]\d(\.\d{1,6})?)?)?"
    r"|P([+-]?\d+[YMWD])*(T([+-]?\d+[HM])*([+-]?\d+(\.\d{1,6})?S)?)?"
)

_DATE_TIME = "an ISO 8601 date-time with at most 7 fractional digits"
PATTERNS = {
    "smallint": (INTEGER, "an integer"),
    "integer": (INTEGER, "an integer"),
    "bigint": (INTEGER, "an integer"),
    "numeric": (DECIMAL, "a number"),
    "real": (DECIMAL, "a number that the column's type stores exactly"),
    "double precision": (DECIMAL, "a number that the column's type stores exactly"),
    "money": (DECIMAL, "an amount that the column's type stores exactly"),
    "boolean": (BOOLEAN, "true or false"),
    "date": (DATE_TIME, "an ISO 8601 date"),
    "timestamp without time zone": (DATE_TIME, _DATE_TIME),
    "timestamp with time zone": (DATE_TIME, _DATE_TIME),
    "time without time zone": (TIME, "a time of day without an offset"),
    "time with time zone": (TIME + _OFFSET + "?", "a time of day"),
    "uuid": (UUID, "a UUID"),
    "bytea": (BYTEA, r"bytes, as \x and hexadecimal digits"),
    "inet": (INET, "an IP address"),
    "cidr": (INET, "an IP network"),
    "macaddr": (MACADDR, "a MAC address"),
    "interval": (INTERVAL, "an interval"),
    "json": (None, "JSON"),
    "jsonb": (None, "JSON without repeated keys"),
    "enum": (None, "a value of the enum type"),
}
"""By base type: the whole text's pattern (RE2), if PostgreSQL's own reading needs one, and what the error expects."""
TEXTS = {"text", "character varying", "character", "bpchar"}
JSON = {"json", "jsonb"}
MICROSECONDS = 6  # fraction digits, the most that PostgreSQL keeps
_TIMED = {"timestamp without time zone", "timestamp with time zone", "time without time zone", "time with time zone"}
_BY_TEXT = {"real", "double precision", "money"}
# Not numeric (1.0 = 1.00), floats (0 = -0) and interval (1 day = 24 hours); json has no = at all.
_EXACTLY_EQUAL = set(PATTERNS) - {"numeric", "real", "double precision", "money", "json", "interval", "inet", "cidr"}
"""Types whose = is the same as having one text form; jsonb is compared by value, which is its =."""
# The precision may stand in the middle: timestamp(3) with time zone.
_TYPE = re.compile(
    r"(?P<name>[a-z ]+?)(?:\((?P<first>\d+)(?:,(?P<second>-?\d+))?\))?(?P<rest> with(?:out)? time zone)?"
)
# Only such texts sort by time; one with another offset does not.
_ZULU = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?$"
# NUL and surrogates; and numbers that may have more digits than numeric has, in which jsonb keeps them.
_ODD_JSON = r"\\u(0000|[dD][89a-fA-F])|\d[eE][+-]?\d{4}|\d{200}"
"""JSON that json stores and jsonb cannot: compared as text."""


@dataclass(frozen=True)
class Format:
    """How the texts of one type (or of an array's elements) go into the staging table and on into the target.

    `{c}` in the SQL stands for the staged column.
    """

    staged_as: str = "text"
    expected: str = ""
    pattern: str | None = None
    max_chars: int | None = None
    fraction_digits: int | None = None
    """How many the type keeps; further ones are cut, never rounded up."""
    day_only: bool = False
    keeps_date_times: bool = False
    """The type keeps a date-time to the microsecond."""
    as_utc: bool = False
    """The type keeps no offset, so that one must be converted to UTC before PostgreSQL drops it."""
    cast_check: str | None = None
    """What must hold of the staged value: that the cast changes nothing."""
    value: str = "{c}"
    """The target's value."""
    keeps_last_value: bool = False
    """Of an object that repeats a key, the type keeps only the last value."""


def format_of(declared: str, base: str, *, array: bool = False) -> Format:
    """The format of a type, or of an array's elements, by its name as declared and by the base type under any domain.

    >>> format_of("grade", "integer").staged_as, format_of("moment", "timestamp(0) with time zone").fraction_digits
    ('grade', 0)
    """
    name, first, second = parsed(base)
    many = "[]" if array else ""
    if name in TEXTS:
        most = int(first) if first else 1 if name == "character" else None
        return Format(expected=f"at most {most} characters" if most else "", max_chars=most)
    if name not in PATTERNS or (name == "interval" and base != name):
        # concat, unlike a cast to text, always takes the type's own output
        text = f"{{c}}::{declared}[]::text[]" if array else f"concat({{c}}::{declared})"
        expected = f"a value that {base} stores exactly as written"
        return Format("text", expected, cast_check=f'{text} = {{c}} COLLATE "C"', value=f"{{c}}::{declared}{many}")
    pattern, expected = PATTERNS[name]
    if name in _BY_TEXT:
        # By way of text: a cast of real to numeric rounds to 6 digits, of double precision to 15. Money's text has a
        # currency sign, and its cast is exact.
        as_text = "" if name == "money" else f"::text{many}"
        cast_check = f"{{c}}::{declared}{many}{as_text}::numeric{many} = {{c}}::numeric{many}"
        return Format("text", expected, pattern, cast_check=cast_check, value=f"{{c}}::{declared}{many}")
    if name == "numeric" and first:
        limits = f"numeric({first},{second or 0})"
        # as numbers: 1.5 may become 1.50, but no digit may be lost
        cast_check, value = f"{{c}} = {{c}}::{limits}{many}", f"{{c}}::{limits}{many}"
        return Format("numeric", f"a number that {limits} can store", pattern, cast_check=cast_check, value=value)
    if name == "timestamp without time zone" and not array:
        # staged with its offset and stored in UTC: PostgreSQL would drop the offset
        digits, value = int(first or MICROSECONDS), "({c} AT TIME ZONE 'UTC')"
        whole = digits == MICROSECONDS
        return Format("timestamptz", expected, pattern, fraction_digits=digits, keeps_date_times=whole, value=value)
    digits = int(first or MICROSECONDS)
    return Format(
        declared,
        expected,
        pattern,
        fraction_digits=digits if name in _TIMED else None,
        keeps_date_times=name == "timestamp with time zone" and digits == MICROSECONDS,
        day_only=name == "date",
        as_utc=name == "timestamp without time zone",
        keeps_last_value=name == "jsonb",
    )


def parsed(base: str) -> tuple[str, str | None, str | None]:
    """
    >>> parsed("numeric(5,2)"), parsed("timestamp(3) without time zone"), parsed("text[]")
    (('numeric', '5', '2'), ('timestamp without time zone', '3', None), ('text[]', None, None))
    """
    match = _TYPE.fullmatch(base)
    if match is None:
        return base, None, None
    return match["name"] + (match["rest"] or ""), match["first"], match["second"]


def differs(stored: str, value: str, base: str, declared: str) -> str:
    """SQL that says whether two values of one column have different stored text forms; JSON goes by value."""
    name = parsed(base)[0]
    if name in _EXACTLY_EQUAL:
        return f"{stored} IS DISTINCT FROM {value}"
    if name in {"character", "bpchar"}:  # their cast to text strips blanks that are stored
        return f'textin(bpcharout({stored})) IS DISTINCT FROM textin(bpcharout({value}::{declared})) COLLATE "C"'
    if name in TEXTS:
        return f'{stored} COLLATE "C" IS DISTINCT FROM {value} COLLATE "C"'
    if name == "json":
        return (
            f"CASE WHEN {stored}::text IS NOT DISTINCT FROM {value}::text THEN false "
            f"WHEN concat({stored}, {value}) ~ '{_ODD_JSON}' THEN true "
            f"ELSE {stored}::jsonb IS DISTINCT FROM {value}::jsonb END"
        )
    if name in PATTERNS or name == "array":
        return f'{stored}::text COLLATE "C" IS DISTINCT FROM {value}::text COLLATE "C"'
    # A type that is not known here may have a cast to text of its own; concat takes its output. A row of nulls IS NULL.
    sides = (f'ROW(num_nulls({side}), concat({side}) COLLATE "C")' for side in (stored, value))
    return " IS DISTINCT FROM ".join(sides)


def as_jsonb(value: str, base: str) -> str:
    """SQL for a value of type jsonb, json or text as jsonb; null where jsonb could not store it."""
    name = parsed(base)[0]
    if name == "jsonb":
        return value
    # pg_input_is_valid is new in PostgreSQL 16
    valid = f"{value}::text !~ '{_ODD_JSON}'" if name == "json" else f"pg_input_is_valid({value}::text, 'jsonb')"
    return f"(CASE WHEN {valid} THEN {value}::text::jsonb END)"


def is_null(value: str, base: str) -> str:
    """SQL that says whether a value is null; a composite one whose fields are all null is not."""
    known = parsed(base)[0] in {*PATTERNS, *TEXTS}
    return f"{value} IS NULL" if known else f"num_nulls({value}) = 1"


def sortable(text: str | None) -> str | None:
    """A date-time's text in UTC, in a format that sorts by time; None for any other text.

    >>> sortable("2026-01-01T01:00:00.5+02:00"), sortable("2026-01-01"), sortable("soon")
    ('2025-12-31T23:00:00.500000', '2026-01-01T00:00:00.000000', None)
    """
    try:
        moment = datetime.fromisoformat(text or "")
        in_utc = moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return in_utc.isoformat(timespec="microseconds")


def moment(text: str) -> str:
    """SQL for the same of a stored text, as the LMS writes it; null for any other text, with an offset for instance."""
    return f"CASE WHEN {text} ~ '{_ZULU}' THEN rtrim({text}, 'Z') END COLLATE \"C\""
