"""JSON in which no object has two values under one name: decoders keep the last one, and the other would be lost."""

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

MAX_READ_AGAIN = 16 << 20
"""Bytes of a page that may be read again, which takes several times as much memory."""
_PIECE = 1 << 17
"""Bytes that are searched at once, so few that they stay in the processor's cache."""
_ESCAPED = re.compile(rb"\\u00(?:22|3[aA])")


class UniqueNames:
    """Checks the pages of one snapshot for names that stand twice in one object. Not thread-safe.

    Only Python's decoder shows every pair, and it takes as long as all other work on a page. So the values of the body
    are counted beside those of its decoded items: only the envelope's may be more. A page with others is read again.
    """

    def __init__(self) -> None:
        self._envelope = -1  # how many values the envelope of the page before had

    def repeated(self, body: bytes, items: Sequence[Any]) -> str | None:
        """A name that one object of a page has twice, the first time with a value; or None.

        Args:
            body: JSON that was decoded without an error.
            items: what it was decoded to.

        Raises:
            msgspec.ValidationError: the page would have to be read again, and is too large for that.
        """
        found, kept = named_values(body), named_values(_encoder.encode(items))
        if found is not None and kept is not None:
            if found - kept == self._envelope:
                return None
            self._envelope = sum(bytes(value) != b"null" for value in _envelope.decode(body).values())
            if found - kept == self._envelope:
                return None
        if len(body) > MAX_READ_AGAIN:
            raise msgspec.ValidationError(
                f"a page of {len(body) >> 20} MB in which a key may stand twice; try a lower LMS_PAGE_SIZE"
            )
        return repeated_name(body)


def named_values(body: bytes) -> int | None:
    """How many values other than null have a name, in compact JSON; None if it is not compact.

    A text that contains `":` counts as well; None, too, where it does so in escapes.

    >>> named_values(b'[{"a":1,"b":null,"c":{"d":"e : f"}}]'), named_values(b'{"a" :1}')
    (3, None)
    """
    if _ESCAPED.search(body):
        return None
    whole, values = np.frombuffer(body, np.uint8), 0
    for start in range(1, len(whole), _PIECE):
        text = whole[start - 1 : start + _PIECE + 1]
        before, colon, after = text[:-2], text[1:-1] == ord(":"), text[2:]
        named = colon & (before == ord('"'))
        spaced = whole[start - 2 + np.flatnonzero(colon & (before <= ord(" ")))]  # two before the colon
        if (named & (after <= ord(" "))).any() or (spaced <= ord(" ")).any() or (spaced == ord('"')).any():
            return None
        values += int(np.count_nonzero(named & (after != ord("n"))))
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
_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw])
