"""JSON in which no object has two values under one name: decoders keep the last one, and the other would be lost."""

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

_PIECE = 1 << 20
"""Bytes that are searched at once: eight bytes of memory for each colon among them."""
_ESCAPED = re.compile(rb"\\u00(?:22|3[aA])")
_WHITE = np.zeros(256, bool)
_WHITE[list(b" \t\r\n")] = True


class UniqueNames:
    """Checks the pages of one snapshot for names that stand twice in one object. Not thread-safe.

    Only Python's decoder shows every pair, and it takes as long as all other work on a page. So the values of the body
    are counted beside those of its decoded items: only the envelope's may be more. The first page, and each whose
    surplus is another, is read again in full.
    """

    def __init__(self) -> None:
        self._surplus: int | None = None  # the least of the pages that were read in full; quotes in texts add to it

    def repeated(self, body: bytes, items: Sequence[Any]) -> str | None:
        """A name that one object of a page has twice, or None.

        Args:
            body: JSON that was decoded without an error.
            items: what it was decoded to.
        """
        found, kept = named_values(body), named_values(_encoder.encode(items))
        surplus = None if found is None or kept is None else found - kept
        if surplus is not None and surplus == self._surplus:
            return None
        repeated = repeated_name(body)
        if repeated is None and surplus is not None:
            self._surplus = surplus if self._surplus is None else min(surplus, self._surplus)
        return repeated


def named_values(body: bytes) -> int | None:
    """How many values other than null have a name, in compact JSON; None if it is not compact.

    A text that contains `":` counts as well; None, too, where it does so in escapes.

    >>> named_values(b'[{"a":1,"b":null,"c":{"d":"e : f"}}]'), named_values(b'{"a" :1}')
    (3, None)
    """
    if _ESCAPED.search(body):
        return None
    values = 0
    for start in range(0, len(body), _PIECE):
        lead = min(start, 2)
        text = np.frombuffer(body[start - lead : start + _PIECE + 1], np.uint8)
        colons = np.flatnonzero(text[lead : lead + _PIECE] == ord(":")) + lead
        before, after = text[colons - 1], text[colons + 1]
        named = after[before == ord('"')]
        spaced = text[colons[_WHITE[before]] - 2]
        if _WHITE[named].any() or _WHITE[spaced].any() or (spaced == ord('"')).any():
            return None
        values += int(np.count_nonzero(named != ord("n")))
    return values


def repeated_name(body: bytes | str) -> str | None:
    """The first name that one object has twice, the first time with a value, by reading all of the body.

    Raises:
        ValueError: it is not JSON.

    >>> repeated_name(b'{"a":null,"a":[{"b":1,"b":null}]}')
    'b'
    """
    repeated: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> bool:
        if len(dict(found)) < len(found):
            values: dict[str, Any] = {}
            for name, value in found:
                if values.get(name) is not None:
                    repeated.append(name)
                values[name] = value
        return True  # of the object's values, its parent needs only that there are any

    json.loads(body, object_pairs_hook=pairs, parse_int=len, parse_float=len)
    return repeated[0] if repeated else None


_encoder = msgspec.json.Encoder()
