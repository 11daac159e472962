"""JSON objects with two values under one name: decoders keep the last one, and the other would be lost."""

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

MAX_READ_AGAIN = 16 << 20
"""The largest page, in bytes, that may be read again, which takes several times as much memory."""
_PIECE = 1 << 17
"""Bytes that are searched in one go, few enough to stay in the processor's cache."""
_ESCAPED = re.compile(rb"\\u00(?:22|3[aA])")


class UniqueNames:
    """Checks the pages of one snapshot for names that occur twice in one object. Not thread-safe.

    Only Python's decoder shows every pair, and it takes as long as all other work on a page. So the values in the body
    are counted and compared with those in its decoded items: the difference must be the envelope's values. If it is
    not, the page is read again.
    """

    def __init__(self) -> None:
        self._envelope = -1  # how many values the previous page's envelope had

    def repeated(self, body: bytes, items: Sequence[Any]) -> str | None:
        """A name that occurs twice in one object of a page, the first time with a value; or None.

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

    A text that contains `":` counts as well; if it has that in escapes, the result is None, too.

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
        # of a value that has a name, only null begins with n
        values += int(np.count_nonzero(named & (after != ord("n"))))
    return values


def repeated_name(body: bytes | str) -> str | None:
    """The first name that occurs twice in one object, the first time with a value; reads the whole body.

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
        return True  # its parent only needs to know that this object is a value

    # len: no number need be made of the digits, and Python's int() refuses more than 4,300 of them
    json.loads(body, object_pairs_hook=pairs, parse_int=len, parse_float=len)
    return repeated[0] if repeated else None


_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw])
