"""A page's JSON becomes columns of text: every value as it stands in the CSV, whatever keys the LMS sends."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from tasks.columns import MEMBER_KEYS, SECRET_KEYS, snake_case

CUSTOM_FIELDS = "customFields"
_EXACT_NUMBER: Callable[[str], Any] = msgspec.Raw  # a number with a point or an exponent, in its own digits


class MemberDecoder:
    """Decodes pages by a type that has exactly the keys met so far.

    So msgspec does the work in C, drops the custom fields that are null, and stumbles over a key
    that is new: it is learned, and the page decoded again. Not for several threads at once.
    """

    def __init__(self) -> None:
        self._keys = set(MEMBER_KEYS)
        self._custom_keys: set[str] = set()
        self._decoder = self._new_decoder()

    def decode(self, body: bytes) -> Any:
        """The envelope: `totalItems`, `returnedItems`, `limit`, and `users`, a list of structs; None where absent.

        Raises:
            msgspec.ValidationError: the body is whole JSON, but not such an envelope.
            msgspec.DecodeError: it is not whole JSON.
        """
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError:
            if not self._learn(body):
                raise
            return self._decoder.decode(body)

    def _learn(self, body: bytes) -> bool:
        """Take in the keys of a page; whether one was new."""
        users = _any_users.decode(body).users or []
        keys = self._keys.union(*users)
        fields = (user.get(CUSTOM_FIELDS) for user in users)
        custom_keys = self._custom_keys.union(*(each for each in fields if isinstance(each, dict)))
        if (keys, custom_keys) == (self._keys, self._custom_keys):
            return False
        self._keys, self._custom_keys = keys, custom_keys
        self._decoder = self._new_decoder()
        return True

    def _new_decoder(self) -> msgspec.json.Decoder[Any]:
        fields = _struct("CustomFields", self._custom_keys, omit_defaults=True)
        types = {"id": str, "departmentId": str | None, CUSTOM_FIELDS: fields | None}
        member = _struct("Member", self._keys, types)
        return msgspec.json.Decoder(_envelope("Envelope", member), float_hook=_EXACT_NUMBER)


def _struct(name: str, keys: Iterable[str], types: dict[str, Any] | None = None, *, omit_defaults: bool = False) -> Any:
    """A type with a field of any value for each key; sorted, so that equal objects give equal text."""
    names = {f"field_{number}": key for number, key in enumerate(sorted(keys))}
    fields = [
        (field, (types or {}).get(key, Any), msgspec.NODEFAULT if key == "id" else None) for field, key in names.items()
    ]
    try:
        return msgspec.defstruct(
            name, fields, rename=names, omit_defaults=omit_defaults, forbid_unknown_fields=True, gc=False, kw_only=True
        )
    except ValueError:
        raise msgspec.ValidationError("a key with a quote, a backslash or a control character in it") from None


def _envelope(name: str, member: Any) -> Any:
    numbers = [(key, int | None, None) for key in ("totalItems", "returnedItems", "limit")]
    return msgspec.defstruct(name, [("users", list[member] | None, None), *numbers])


def member_columns(users: Sequence[Any]) -> dict[str, pa.Array]:
    """Key to a column of text, null where a member has none; without any password.

    Nested objects become dotted keys, `customFields` one JSON object, `{}` where there is none.
    """
    if not users:
        return {"id": pa.array([], pa.string())}
    keys = users[0].__struct_encode_fields__
    values: dict[str, Sequence[Any]] = dict(
        zip(keys, zip(*map(msgspec.structs.astuple, users), strict=True), strict=True)
    )
    fields = [b"{}" if each is None else _encoder.encode(each) for each in values.pop(CUSTOM_FIELDS)]
    columns = {**text_columns(values), CUSTOM_FIELDS: pa.array(fields, pa.binary()).cast(pa.string())}
    return {key: column for key, column in columns.items() if snake_case(key) not in SECRET_KEYS}


def text_columns(values: dict[str, Sequence[Any]]) -> dict[str, pa.Array]:
    """
    >>> text_columns({"a": ["x", True], "b": [{"c": 1}, None]})["b.c"].to_pylist()
    ['1', None]
    """
    columns: dict[str, pa.Array] = {}
    for key, column in values.items():
        try:
            columns[key] = pa.array(column, pa.string())
            continue
        except (pa.ArrowTypeError, pa.ArrowInvalid):  # not all of them are text
            pass
        objects = [value if type(value) is dict else {} for value in column]
        if any(objects):
            inner = dict.fromkeys(name for each in objects for name in each)
            columns |= text_columns({f"{key}.{name}": [each.get(name) for each in objects] for name in inner})
            column = [None if type(value) is dict else value for value in column]
            if all(value is None for value in column):
                continue
        columns[key] = pa.array([as_text(value) for value in column], pa.string())
    return columns


def as_text(value: Any) -> str | None:
    """One JSON value as it stands in the CSV: strings bare, everything else as JSON.

    >>> as_text("x"), as_text(True), as_text([1, None]), as_text(None)
    ('x', 'true', '[1,null]', None)
    """
    if value is None or type(value) is str:
        return value
    return _WORDS[value] if type(value) is bool else _encoder.encode(value).decode()


_WORDS = {True: "true", False: "false"}
_any_users = msgspec.json.Decoder(_envelope("AnyEnvelope", dict[str, Any]), float_hook=_EXACT_NUMBER)
_encoder = msgspec.json.Encoder()
