"""Hashed columns: HMAC-SHA-256 instead of values that must not be stored in S3 or the database.

Equal values have equal hashes, so they can still be counted, joined and compared; without the key nobody can try out
which value a hash stands for.
"""

import hmac
from collections.abc import Callable

import msgspec
import pyarrow as pa

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


def key_id(key: str) -> str:
    """An id that identifies a key without revealing it, for the object's metadata.

    >>> key_id("a key of 16 chars"), key_id("another key of 16")
    ('01f47a665fa236e4', '29e0a6bee61650d5')
    """
    return hashed("department-members: which key is this?", key)[:16]


def hashed(text: str, key: str) -> str:
    """The text's HMAC-SHA-256 as 64 hexadecimal digits; of the UTF-8 bytes of both."""
    # unlike hmac.new, one call into C
    return hmac.digest(key.encode(), text.encode(), "sha256").hex()


def hashed_texts(texts: pa.Array | pa.ChunkedArray, key: str) -> pa.Array:
    """A column's hashes; null stays null."""
    return pa.array([None if text is None else hashed(text, key) for text in texts.to_pylist()], pa.string())


def hashed_fields(
    texts: pa.Array | pa.ChunkedArray, is_wanted: Callable[[str], bool], key: str, found: set[str]
) -> pa.Array:
    """JSON objects in which the values under the wanted names are hashed, and all others are as they were.

    A text is hashed without its quotes, any other value as it is written.

    Args:
        found: gets the names under which there was a value to hash.
    """
    return pa.array([text and hashed_object(text, is_wanted, key, found) for text in texts.to_pylist()], pa.string())


def hashed_object(text: str, is_wanted: Callable[[str], bool], key: str, found: set[str]) -> str:
    """
    >>> hashed_object('{"badge":"12","level":1.50}', {"badge"}.__contains__, "k", set())[-15:]
    '","level":1.50}'
    """
    fields: dict[str, object] = dict(_decoder.decode(text))
    for name in filter(is_wanted, list(fields)):
        value = bytes(fields[name])  # type: ignore[call-overload]
        plain = msgspec.json.decode(value, type=str) if value.startswith(b'"') else value.decode()
        fields[name] = hashed(plain, key)
        found.add(name)
    return _encoder.encode(fields).decode()
