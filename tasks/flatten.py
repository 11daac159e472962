"""From raw pages to one CSV in which every value is what the LMS wrote."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from prefect import task

from tasks.columns import GUID_KEYS, MEMBER_KEYS, ColumnNames
from tasks.fetch import RawSnapshot
from tasks.files import create_private, sha256_of
from tasks.log import run_logger
from tasks.policy import IN_MEMORY

Row = dict[str, Any]

# Null is an empty unquoted field and every value is quoted, so "" stays apart from null and COPY reads it as it is.
_CSV = pa.csv.WriteOptions(quoting_style="all_valid")
_EXACT_NUMBER: Callable[[str], Any] = msgspec.Raw  # a number with a point or an exponent, in its own digits


@dataclass(frozen=True)
class FlatSnapshot:
    """One department's snapshot as a CSV file, with what its object's metadata will say."""

    path: Path
    department_id: str
    snapshot_at: datetime
    rows: int
    columns: tuple[str, ...]
    unknown_keys: tuple[str, ...]
    sha256: str
    bytes: int
    seconds: float


@task(name="flatten-members", **IN_MEMORY)
def flatten_members(raw: RawSnapshot, names: ColumnNames, path: Path) -> FlatSnapshot:
    """The snapshot's rows lie in one CSV at `path`, one line a member, in the order of the pages.

    The header holds the API's 37 columns, then those of unknown keys as they are met; a key that a
    page leaves out is null there. Streams page by page and holds one. Not retried: the same pages
    give the same file.

    Raises:
        ConfigError: two keys would share one column.
    """
    began = time.monotonic()
    keys = list(MEMBER_KEYS)
    while unseen := write_pages(raw, keys, names.columns(keys), path):
        keys += unseen  # the header must name every column, so begin again with the longer one
    unknown = tuple(key for key in keys[len(MEMBER_KEYS) :] if names.column(key) is not None)
    if unknown:
        run_logger().warning("the LMS sends keys that this version does not know, carried as columns: %s", unknown)
    return FlatSnapshot(
        path=path,
        department_id=raw.department_id,
        snapshot_at=raw.snapshot_at,
        rows=raw.rows,
        columns=tuple(names.columns(keys).values()),
        unknown_keys=unknown,
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        seconds=time.monotonic() - began,
    )


def write_pages(raw: RawSnapshot, keys: list[str], columns: dict[str, str], path: Path) -> list[str]:
    """Write every page's members under `columns` (key to column), or return the keys that `keys` lacks."""
    known = set(keys)
    schema = pa.schema([(name, pa.string()) for name in columns.values()])
    with create_private(path) as file, pa.csv.CSVWriter(file, schema, write_options=_CSV) as writer:
        for page in raw.files():
            texts = member_texts(decode_users(page.read_bytes()))
            if unseen := [key for key in texts if key not in known]:
                return unseen
            frame = member_frame(texts, columns)
            writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
    return []


def decode_users(body: bytes) -> list[Row]:
    """The members of one page; numbers with a point or an exponent keep their digits."""
    users: list[Row] = _decoder.decode(body)["users"]
    return users


def member_frame(texts: dict[str, list[str | None]], columns: dict[str, str]) -> pd.DataFrame:
    """Rows × columns of text: the columns of the table, GUIDs in lower case, null where a key is absent."""
    table = pa.table({key: pa.array(texts[key], pa.string()) for key in texts if key in columns})
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    for key in GUID_KEYS.intersection(frame.columns):
        frame[key] = frame[key].str.lower()
    return frame.reindex(columns=list(columns)).rename(columns=columns)


def member_texts(members: list[Row]) -> dict[str, list[str | None]]:
    """Key to one text or null a member; nested objects become dotted keys, `customFields` one JSON object.

    Takes the custom fields out of `members`.
    """
    fields: list[str | None] = [custom_fields(member.pop("customFields", None)) for member in members]
    return {**flat_texts(members), "customFields": fields}


def flat_texts(rows: list[Row], prefix: str = "") -> dict[str, list[str | None]]:
    """
    >>> flat_texts([{"a": "x", "b": {"c": 1}}, {"a": True, "b": None}])
    {'a': ['x', 'true'], 'b.c': ['1', None]}
    """
    texts: dict[str, list[str | None]] = {}
    for key in dict.fromkeys(chain.from_iterable(rows)):
        values = [row.get(key) for row in rows]
        kinds = set(map(type, values))
        if dict in kinds:
            texts |= flat_texts([value if type(value) is dict else {} for value in values], f"{prefix}{key}.")
            values = [None if type(value) is dict else value for value in values]
            if not any(value is not None for value in values):
                continue
        texts[prefix + key] = values if kinds <= {str, type(None)} else [as_text(value) for value in values]
    return texts


def as_text(value: Any) -> str | None:
    """One JSON value as it stands in the CSV: strings bare, everything else as JSON."""
    if value is None or type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    return _encoder.encode(value).decode()


def custom_fields(fields: Any) -> str:
    """
    >>> custom_fields({"string1": "Zürich", "decimal1": None, "bool1": False}), custom_fields(None)
    ('{"string1":"Zürich","bool1":false}', '{}')
    """
    if isinstance(fields, dict):
        fields = {name: value for name, value in fields.items() if value is not None}
    return _encoder.encode({} if fields is None else fields).decode()


_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=_EXACT_NUMBER)
_encoder = msgspec.json.Encoder()
