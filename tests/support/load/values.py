"""What a text in the file means for each column type, written again from the contract (design C6).

A cast gives a `Meaning`: `must` is True where the row has to load, False where it has to be rejected, and
None where both are right; `literal` is what PostgreSQL is given if the row loads.
"""

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple


class Meaning(NamedTuple):
    must: bool | None
    literal: str | None = None


BAD = Meaning(False)
Cast = Callable[[str], Meaning]
_STAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?(Z|[+-]\d{2}(?::?\d{2})?)?)?", re.ASCII
)
_CLOCK = re.compile(r"(\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def ok(literal: str) -> Meaning:
    return Meaning(True, literal)


def either(literal: str) -> Meaning:
    return Meaning(None, literal)


def text(value: str) -> Meaning:
    return ok(value)


def at_most(length: int) -> Cast:
    return lambda value: ok(value) if len(value) <= length else BAD


def blank_padded(value: str) -> Meaning:
    """char(3): blanks at the end are not kept, so only a full value is exact."""
    return BAD if len(value) > 3 else ok(value) if len(value) == 3 and value[-1] != " " else either(value)


def lower_only(value: str) -> Meaning:
    return ok(value) if value == value.lower() else BAD


def integer(value: str) -> Meaning:
    if not re.fullmatch(r"[+-]?[0-9]+", value) or not -(2**31) <= int(value) < 2**31:
        return BAD
    return ok(str(int(value)))


def below_100(value: str) -> Meaning:
    return integer(value) if integer(value).must and int(value) < 100 else BAD


def numeric(value: str) -> Meaning:
    return ok(value) if _DECIMAL.fullmatch(value) else BAD


def numeric_5_2(value: str) -> Meaning:
    if not _DECIMAL.fullmatch(value):
        return BAD
    number = Decimal(value)
    return ok(value) if number == number.quantize(Decimal("0.01")) and abs(number) < 1000 else BAD


def double(value: str) -> Meaning:
    """Exact if the shortest text of the float is the same number."""
    if not _DECIMAL.fullmatch(value) or abs(Decimal(value)) > Decimal("1e300"):
        return BAD
    return ok(value) if Decimal(repr(float(value))) == Decimal(value) else BAD


def real(value: str) -> Meaning:
    if not _DECIMAL.fullmatch(value) or abs(Decimal(value)) > Decimal("1e38"):
        return BAD
    single = struct.unpack("f", struct.pack("f", float(value)))[0]
    return ok(value) if Decimal(f"{single:.6g}") == Decimal(value) else BAD


def boolean(value: str) -> Meaning:
    word = value.lower()
    if word in {"true", "t", "yes", "y", "on", "1"}:
        return ok("true")
    return ok("false") if word in {"false", "f", "no", "n", "off", "0"} else BAD


def day(value: str) -> Meaning:
    match = _STAMP.fullmatch(value)
    try:
        return ok(date.fromisoformat(match[1]).isoformat()) if match else BAD
    except ValueError:
        return BAD


def moment(precision: int) -> Cast:
    """A time in UTC; more digits than `precision` are cut, never rounded."""

    def cast(value: str) -> Meaning:
        match = _STAMP.fullmatch(value)
        try:
            return ok(_utc(match, precision)) if match else BAD
        except ValueError:
            return BAD

    return cast


def _utc(match: re.Match[str], precision: int) -> str:
    at = datetime.fromisoformat(f"{match[1]} {match[2] or '00:00'}:{match[3] or '00'}")
    offset = match[5] or "Z"
    if offset != "Z":
        digits = offset[1:].replace(":", "").ljust(4, "0")
        shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        at = at.replace(tzinfo=timezone(shift if offset[0] == "+" else -shift)).astimezone(UTC)
    fraction = (match[4] or "")[:precision]
    return f"{at:%Y-%m-%d %H:%M:%S}" + (f".{fraction}" if fraction else "") + "+00"


def stamp_element(value: str) -> Meaning:
    """In an array, an offset or digits that would be cut may also be rejected."""
    meaning = moment(6)(value)
    return either(meaning.literal or "") if meaning.must and ("+" in value or "." in value) else meaning


def clock(value: str) -> Meaning:
    match = _CLOCK.fullmatch(value)
    if not match or match[1] > "23:59" or (match[2] or "00") > "59":
        return BAD
    return ok(f"{match[1]}:{match[2] or '00'}.{(match[3] or '0')[:6]}")


def guid(value: str) -> Meaning:
    if _UUID.fullmatch(value):
        return ok(value.lower())
    digits = value.removeprefix("{").removesuffix("}").replace("-", "").lower()
    spelled = value[:1] == "{" or "-" not in value
    if not spelled or not re.fullmatch("[0-9a-f]{32}", digits):
        return BAD
    return either("-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]]))


def parsed_json(value: str) -> Any:
    """Numbers exact; ValueError where it is none."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(value, parse_float=Decimal, parse_int=Decimal, parse_constant=refuse)


def json_text(value: str) -> Meaning:
    try:
        parsed_json(value)
    except ValueError:
        return BAD
    return ok(value)


def jsonb(value: str) -> Meaning:
    return BAD if "\\u0000" in value else json_text(value)


def array(element: Cast) -> Cast:
    """An array from JSON; nested ones and numbers may be taken exactly or rejected."""

    def cast(value: str) -> Meaning:
        if re.fullmatch(r"\{[a-z]*(,[a-z]+)*\}", value):
            return ok(value) if all(element(part).must for part in value[1:-1].split(",") if part) else BAD
        try:
            parsed = parsed_json(value)
        except ValueError:
            return BAD
        if not isinstance(parsed, list):
            return BAD
        return _array_of(parsed, element)

    return cast


def _array_of(items: list[Any], element: Cast) -> Meaning:
    must: bool | None = True
    parts = []
    for item in items:
        if isinstance(item, list):
            meaning = _array_of(item, element)
            must, part = None, meaning.literal or ""
        else:
            meaning = Meaning(True, None) if item is None else element(str(item))
            must = must if item is None or isinstance(item, str) and meaning.must is True else None
            quoted = (meaning.literal or "").replace("\\", "\\\\").replace('"', '\\"')
            part = "NULL" if item is None else f'"{quoted}"'
        if meaning.must is False:
            return BAD
        parts.append(part)
    return Meaning(must, "{" + ",".join(parts) + "}")


def one_of(*values: str, otherwise: tuple[str, ...] = ()) -> Cast:
    """The values that load as they are, and those that may; all others are rejected."""
    return lambda value: ok(value) if value in values else either(value) if value in otherwise else BAD


@dataclass(frozen=True)
class Kind:
    """A column type; `{s}` in its name is the schema of the test's own types."""

    sql: str
    cast: Cast
    good: tuple[str, ...]
    bad: tuple[str, ...]
    unique: bool = True
    is_text: bool = False
    is_json: bool = False
