"""Finds JSON objects that repeat a key: decoders keep the last value and silently drop the others."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

_PIECE = 1 << 17
"""Bytes that are searched in one go, few enough to stay in the processor's cache."""
_ESCAPED = re.compile(rb"\\u00(?:22|3[aA])")
# `":` in a text, written so that only the decoded text contains it; slow, so only looked for where _ESCAPED is found
_HIDDEN = re.compile(rb'\\u0022(?::|\\u003[aA])|"\\u003[aA]')


def repeated_key(body: bytes, items: Sequence[Any]) -> str | None:
    """The first key that an object of a page repeats after giving it a value, or None.

    Only Python's decoder shows every pair, and it takes as long as all other work on a page. So this compares the
    number of non-null values in the body with the number in the decoded items: the difference must be the envelope's
    own values. If it is not, the page is read again.

    Args:
        body: JSON that was decoded without an error: an object with the list of items.
        items: the decoded items, which are encoded without what they lack.
    """
    found, kept = count_values(body), count_values(_encoder.encode(items))
    if found is not None and kept is not None:
        # without the list, which has the first bracket and the last; if the envelope has others, this is no JSON
        envelope = body[: body.find(b"[") + 1] + body[body.rfind(b"]") :]
        with suppress(ValueError):
            if found - kept == count_values(envelope) and first_repeated_key(envelope) is None:
                return None
    return first_repeated_key(body)


def count_values(body: bytes) -> int | None:
    """Count the non-null object values in compact JSON; None if it has whitespace that makes the count unreliable.

    A text that contains `":` counts as well; if it is written with escapes there, the result is None, too.

    >>> count_values(b'[{"a":1,"b":null,"c":{"d":"e : f"}}]'), count_values(b'{"a" :1}')
    (3, None)
    """
    if _ESCAPED.search(body) and _HIDDEN.search(body):
        return None
    whole, values = np.frombuffer(body, np.uint8), 0
    for start in range(1, len(whole), _PIECE):
        text = whole[start - 1 : start + _PIECE + 1]
        before, colon, after = text[:-2], text[1:-1] == ord(":"), text[2:]
        named = colon & (before == ord('"'))
        spaced = whole[start - 2 + np.flatnonzero(colon & (before <= ord(" ")))]  # two before the colon
        if (named & (after <= ord(" "))).any() or (spaced <= ord(" ")).any() or (spaced == ord('"')).any():
            return None
        # of the values after a key, only null begins with n
        values += int(np.count_nonzero(named & (after != ord("n"))))
    return values


def first_repeated_key(body: bytes | str) -> str | None:
    """The first key that an object repeats after giving it a value, by reading the whole body.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested more deeply than Python reads.

    >>> first_repeated_key(b'{"a":null,"a":[{"b":1,"b":null}]}')
    'b'
    """
    repeated: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> bool:
        if len(dict(found)) < len(found):
            values: dict[str, Any] = {}
            for key, value in found:
                if values.get(key) is not None:
                    repeated.append(key)
                values[key] = value
        return True  # its parent only needs to know that this object is a value

    # len: no number need be made of the digits, and Python's int() refuses more than 4,300 of them
    json.loads(body, object_pairs_hook=pairs, parse_int=len, parse_float=len)
    return repeated[0] if repeated else None


_encoder = msgspec.json.Encoder()
