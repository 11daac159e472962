"""Arrays: from the LMS's JSON, or from PostgreSQL's own literals, into literals that leave nothing to guess."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

# a quoted element with backslash escapes; a brace or comma; or an unquoted element
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{},]|[^{},"\\]+', re.DOTALL)
_BRACKETS = {"{": "[", "}": "]", ",": ","}
Nested = list[Any]
"""Lists within lists; None stands for each element, null or not, whose text is in a flat list next to it."""


class NotAnArray(Exception):
    """The text is no array, or not one that PostgreSQL keeps as it is."""


def elements(text: str, *, as_json: bool = False) -> tuple[Nested, list[str | None]]:
    """An array's form, and its elements' texts in order.

    A JSON string gives its text, any other JSON value its JSON, digit by digit. With `as_json` each element is JSON,
    strings and inner arrays too.

    >>> elements('["a", null, 1.50]'), elements('{{a,NULL},{b,"NULL"}}')
    (([None, None, None], ['a', None, '1.50']), ([[None, None], [None, None]], ['a', None, 'b', 'NULL']))

    Raises:
        NotAnArray: see there.
    """
    flat: list[str | None] = []
    is_literal = text.startswith("{")
    try:
        items = msgspec.json.decode(_as_json(text) if is_literal else text, type=list[msgspec.Raw])
        return _flatten_json(items, flat, as_json and not is_literal), flat
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        raise NotAnArray from None


def _as_json(literal: str) -> str:
    """
    >>> _as_json('{a,NULL,{"b c"}}')
    '["a",null,["b c"]]'
    """
    pieces = []
    for token in _TOKEN.findall(literal):
        if token in _BRACKETS:
            pieces.append(_BRACKETS[token])
        elif token.startswith('"'):
            # inside quotes, a backslash stands for whatever follows it
            pieces.append(json.dumps(re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)))
        # PostgreSQL ignores blanks around an unquoted element, and takes NULL for null in any letter case
        elif bare := token.strip():
            pieces.append("null" if bare.upper() == "NULL" else json.dumps(bare))
    if "".join(_TOKEN.findall(literal)) != literal:  # a stray quote or backslash
        raise NotAnArray
    return "".join(pieces)


def _flatten_json(items: list[msgspec.Raw], flat: list[str | None], as_json: bool) -> Nested:
    nested: Nested = []
    for item in items:
        raw = bytes(item).decode().strip()
        if raw.startswith("[") and not as_json:
            inner = msgspec.json.decode(raw, type=list[msgspec.Raw])
            nested.append(_inner(_flatten_json(inner, flat, as_json)))
            continue
        plain = raw.startswith('"') and not as_json
        flat.append(None if raw == "null" else msgspec.json.decode(raw, type=str) if plain else raw)
        nested.append(None)
    return nested


def _inner(nested: Nested) -> Nested:
    """PostgreSQL has no empty array inside an array: it would drop the outer one too."""
    if not nested:
        raise NotAnArray
    return nested


def array_literal(nested: Nested, texts: Iterator[str | None]) -> str:
    """PostgreSQL's literal of an array, every element quoted.

    >>> array_literal([None, None, [None]], iter(["a", None, 'say "hi"']))
    '{"a",NULL,{"say \\\\"hi\\\\""}}'
    """
    return "{" + ",".join(array_literal(i, texts) if i is not None else _quoted(next(texts)) for i in nested) + "}"


def _quoted(text: str | None) -> str:
    # quoted, no text is taken for NULL, a brace or a comma
    return "NULL" if text is None else '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def to_utc(text: str | None) -> str | None:
    """A date-time without an offset, in UTC.

    >>> to_utc("2026-01-01T01:00:00.5+02:00"), to_utc("2026-01-01T01:00:00")
    ('2025-12-31T23:00:00.500000', '2026-01-01T01:00:00')
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        # PostgreSQL would drop the offset
        return text if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError):
        raise NotAnArray from None
