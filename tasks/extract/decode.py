"""A page's JSON becomes columns of text: every value as it stands in the CSV, whatever keys the LMS sends."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from tasks.columns import SECRET_KEYS
from tasks.errors import ConfigError
from tasks.streams import Stream

MAX_COLUMNS = 1_600
"""PostgreSQL's most columns of a table, and so the most keys that can be of use. https://www.postgresql.org/docs/current/limits.html"""
# -0 with an exponent, since only such numbers reach float_hook; this spelling marks it until then
_MINUS_ZERO = "-0e-00000000000000000000"


def exact_number(text: str) -> msgspec.Raw:
    """A number with a point or an exponent, in its own digits; and `-0`, the one integer that Python writes otherwise.

    >>> bytes(exact_number("1.10")), bytes(exact_number(_MINUS_ZERO))
    (b'1.10', b'-0')
    """
    return msgspec.Raw("-0" if text == _MINUS_ZERO else text)


def mark_minus_zero(body: bytes) -> bytes:
    """Give each integer `-0` outside of texts an exponent, by which `exact_number` knows it.

    >>> mark_minus_zero(b'{"a":-0,"b":"x:-0,"}').replace(_MINUS_ZERO.encode(), b"!")
    b'{"a":!,"b":"x:-0,"}'
    """
    if _MAYBE_MINUS_ZERO.search(body) is None:  # as nearly always; the other pattern walks through each text
        return body
    return _TEXT_OR_MINUS_ZERO.sub(lambda found: found[0] if found["zero"] is None else _MINUS_ZERO.encode(), body)


_MAYBE_MINUS_ZERO = re.compile(rb"-0[,\]}\s]")
# Texts match as a whole, so that nothing in them is replaced; the look-behind spares the -0 in an exponent, 1e-0.
_TEXT_OR_MINUS_ZERO = re.compile(rb'"(?:[^"\\]|\\.)*"|(?<![0-9eE])(?P<zero>-0)(?![0-9.eE])', re.DOTALL)


class PageDecoder:
    """Decodes a stream's pages by a type that has exactly the keys met so far.

    msgspec then does the work in C and drops null custom fields. On an unknown key, the key is added and the page is
    decoded again. Not thread-safe.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._any = msgspec.json.Decoder(_envelope("AnyEnvelope", stream, dict[str, Any]), float_hook=exact_number)
        self._keys = set(stream.keys)
        self._custom_keys: set[str] = set()
        self._met: set[str] = set()
        self._decoder = self._new_decoder()

    def decode(self, body: bytes) -> Any:
        """The envelope: `totalItems`, `returnedItems`, `limit`, and `items`, a list of structs; None where absent.

        Raises:
            msgspec.ValidationError: the body is whole JSON, but not such an envelope.
            msgspec.DecodeError: it is not whole JSON.
        """
        body = mark_minus_zero(body)
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError:
            if not self._learn(body):
                raise
            return self._decoder.decode(body)

    @property
    def keys(self) -> int:
        """How many keys are known."""
        return len(self._keys) + len(self._custom_keys)

    def unseen(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Those of a page's keys, dotted ones of nested objects included, that no page had before."""
        new = tuple(key for key in keys if key not in self._met)
        self._met.update(new)
        if len(self._met) > MAX_COLUMNS:
            raise msgspec.ValidationError(f"more than {MAX_COLUMNS:,} different keys")
        return new

    def _learn(self, body: bytes) -> bool:
        """Add the keys of a page; return whether any was new."""
        items = self._any.decode(body).items or []
        keys = self._keys.union(*items)
        fields = (item.get(self.stream.custom_fields) for item in items)
        custom_keys = self._custom_keys.union(*(each for each in fields if isinstance(each, dict)))
        if (keys, custom_keys) == (self._keys, self._custom_keys):
            return False
        if len(keys) + len(custom_keys) > MAX_COLUMNS:
            raise msgspec.ValidationError(f"more than {MAX_COLUMNS:,} different keys")
        self._keys, self._custom_keys = keys, custom_keys
        self._decoder = self._new_decoder()
        return True

    def _new_decoder(self) -> msgspec.json.Decoder[Any]:
        fields = _struct("CustomFields", self._custom_keys, omit_defaults=True)
        types = {self.stream.scope_key: str | None, self.stream.custom_fields: fields | None, self.stream.id_key: str}
        item = _struct("Item", self._keys, types, omit_defaults=True)
        return msgspec.json.Decoder(_envelope("Envelope", self.stream, item), float_hook=exact_number)


def _struct(name: str, keys: Iterable[str], types: Mapping[Any, Any] = {}, *, omit_defaults: bool = False) -> Any:
    """A type with a field of any value for each key; sorted, so that equal objects give equal text."""
    names = {f"field_{number}": key for number, key in enumerate(sorted(keys))}
    fields = [
        (field, types.get(key, Any), msgspec.NODEFAULT if types.get(key) is str else None)
        for field, key in names.items()
    ]
    try:
        return msgspec.defstruct(
            # forbid: an unknown key must raise, so that _learn adds it
            name,
            fields,
            rename=names,  # a key of the LMS may be no identifier
            omit_defaults=omit_defaults,  # null is the default, so null custom fields are left out
            forbid_unknown_fields=True,
            gc=False,  # JSON holds no cycles, so the collector need not know of these objects
            kw_only=True,  # else msgspec wants fields without a default, such as the id, to come first
        )
    except ValueError:
        raise msgspec.ValidationError("a key that contains a quote, a backslash or a control character") from None


def _envelope(name: str, stream: Stream, item: Any) -> Any:
    numbers = [(key, int | None, None) for key in ("totalItems", "returnedItems", "limit")]
    return msgspec.defstruct(name, [("items", list[item] | None, None), *numbers], rename={"items": stream.list_name})


def item_columns(items: Sequence[Any], stream: Stream, *, may_hold_secret: bool = True) -> dict[str, pa.Array]:
    """Each key's values as a text column, null where an item lacks the key; passwords are removed at any depth.

    Nested objects become dotted keys, custom fields one JSON object, `{}` where there is none.

    Raises:
        ConfigError: two keys would become one column.
        msgspec.ValidationError: there are more keys than MAX_COLUMNS.
    """
    if not items:
        return {stream.id_key: pa.array([], pa.string())}
    keys = items[0].__struct_encode_fields__
    values: dict[str, Sequence[Any]] = dict(
        zip(keys, zip(*map(msgspec.structs.astuple, items), strict=True), strict=True)
    )
    fields = values.pop(stream.custom_fields) if stream.custom_fields else ()
    if may_hold_secret:
        values = {key: [without_secrets(value) for value in each] for key, each in values.items() if not secret(key)}
        fields = tuple(each and without_secrets(as_object(each)) for each in fields)
    columns = text_columns(values)
    if stream.custom_fields:
        custom = [b"{}" if each is None else _encoder.encode(each) for each in fields]
        columns[stream.custom_fields] = pa.array(custom, pa.binary()).cast(pa.string())  # one cast for all
    return columns


def may_hold_secret(body: bytes) -> bool:
    """Whether a page may hold a key that is secret: written out, or with escapes for its letters."""
    # \u00xx: a letter of the key may be written as an escape
    return b"password" in body.lower() or b"\\u00" in body


def secret(key: str) -> bool:
    """
    >>> [key for key in ("password", "PassWord", "passwordHint") if secret(key)]
    ['password', 'PassWord']
    """
    return key.lower() in SECRET_KEYS


def without_secrets(value: Any) -> Any:
    """A value, without the entries of its objects, at any depth, whose keys are secret."""
    if type(value) is dict:
        return {key: without_secrets(each) for key, each in value.items() if not secret(key)}
    return [without_secrets(each) for each in value] if type(value) is list else value


def as_object(fields: Any) -> dict[str, Any]:
    """A decoded customFields as a dict, without nulls."""
    named = zip(fields.__struct_encode_fields__, msgspec.structs.astuple(fields), strict=True)
    return {key: value for key, value in named if value is not None}


def text_columns(values: dict[str, Sequence[Any]]) -> dict[str, pa.Array]:
    """
    >>> text_columns({"a": ["x", True], "b": [{"c": 1}, None]})["b.c"].to_pylist()
    ['1', None]
    """
    columns: dict[str, pa.Array] = {}
    for key, column in values.items():
        try:
            add_column(columns, key, pa.array(column, pa.string()))
            continue
        except (pa.ArrowTypeError, pa.ArrowInvalid):  # not all of them are text
            pass
        objects = [value if type(value) is dict else {} for value in column]
        if any(objects):
            for name, inner in text_columns(inner_values(key, objects)).items():
                add_column(columns, name, inner)
            column = [None if type(value) is dict else value for value in column]
            if all(value is None for value in column):
                continue
        add_column(columns, key, pa.array([as_text(value) for value in column], pa.string()))
    return columns


def inner_values(key: str, objects: list[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    """The values of nested objects, by dotted keys."""
    inner = dict.fromkeys(name for each in objects for name in each)
    if len(inner) > MAX_COLUMNS:
        raise msgspec.ValidationError(f"more than {MAX_COLUMNS:,} different keys")
    return {f"{key}.{name}": [each.get(name) for each in objects] for name in inner}


def add_column(columns: dict[str, pa.Array], key: str, column: pa.Array) -> None:
    """Add a column under its key, unless there is one already: a value that is replaced would be lost."""
    if key in columns:
        raise ConfigError(
            f"the LMS sends two keys that would both become the column {key!r}, one of them inside an object. "
            "One value would be lost, so nothing was published. Ask Absorb which one is meant."
        ).about_one_scope()
    if len(columns) >= MAX_COLUMNS:
        raise msgspec.ValidationError(f"more than {MAX_COLUMNS:,} different keys")
    columns[key] = column


def as_text(value: Any) -> str | None:
    """One JSON value as it stands in the CSV: strings bare, everything else as JSON.

    >>> as_text("x"), as_text(True), as_text([1, None]), as_text(None)
    ('x', 'true', '[1,null]', None)
    """
    if value is None or type(value) is str:
        return value
    return _WORDS[value] if type(value) is bool else _encoder.encode(value).decode()


_WORDS = {True: "true", False: "false"}
_encoder = msgspec.json.Encoder()
