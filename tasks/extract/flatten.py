"""From raw pages to one CSV in which every value is what the LMS wrote."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from prefect import task

from tasks.columns import ColumnNames
from tasks.credentials import hash_key
from tasks.errors import ConfigError
from tasks.extract.fetch import RawSnapshot
from tasks.extract.hashing import hashed_fields, hashed_texts, key_id
from tasks.files import create_private, sha256_of
from tasks.log import run_logger
from tasks.streams import Scope
from tasks.task_options import IN_MEMORY, ONCE

# Null is an empty unquoted field and every value is quoted, so "" stays apart from null and COPY reads it as it is.
_CSV = pa.csv.WriteOptions(quoting_style="all_valid")


@dataclass(frozen=True)
class FlatSnapshot:
    """One scope's snapshot as a CSV file, with what its object's metadata will say."""

    path: Path
    scope: Scope
    snapshot_at: datetime
    rows: int
    columns: tuple[str, ...]
    unknown_keys: tuple[str, ...]
    names: ColumnNames
    """Which columns were to be renamed, left out or hashed."""
    hashed_columns: tuple[str, ...]
    """Of the columns, and `custom_fields.KEY` for each name of the user's among the custom fields."""
    hash_key_id: str | None
    """The id of the hash key; None if nothing is hashed."""
    sha256: str
    bytes: int
    seconds: float


@task(name="flatten-pages", task_run_name="flatten-pages {raw.scope.label}", **IN_MEMORY, **ONCE)
def flatten_pages(raw: RawSnapshot, names: ColumnNames, path: Path, *, blocks: str | None = None) -> FlatSnapshot:
    """Write the snapshot's rows to one CSV at `path`, one row per item, in page order.

    The header has the columns of the API's keys, then those of unknown keys; a key that a page lacks is null. Holds one
    page in memory. Not retried: the same pages give the same file.

    Raises:
        ConfigError: two keys would share one column, or a column to hash does not exist.
    """
    began = time.monotonic()
    known = raw.scope.stream.keys
    columns = names.columns((*known, *(key for key in raw.keys if key not in known)))
    # without rows there are no keys, so that a name cannot be judged
    if raw.rows and (unhashed := names.unhashed(raw.keys)):
        raise ConfigError(
            f"LMS_HASH_COLUMNS names {', '.join(unhashed)}, but {raw.scope} has no such key or column. Nothing was "
            "published, since the values to hash may be under another name. Correct the name, or remove it."
        ).about_one_scope()
    key = hash_key(blocks) if names.hashed else None
    fields = write_pages(raw, columns, path, names, key)
    if missing := names.unhashed_fields(fields):
        run_logger().warning(
            "LMS_HASH_COLUMNS names %s, but %s has no such custom field: is it spelled as the LMS does?",
            ", ".join(missing), raw.scope,
        )  # fmt: skip
    if raw.rows and (unmatched := names.unmatched(raw.keys)):
        run_logger().warning(
            "LMS_EXCLUDE_COLUMNS names %s, but there is no such key or column; check the spelling against the LMS",
            unmatched,
        )
    unknown = tuple(key for key in columns if key not in known)
    if unknown:
        run_logger().warning(
            "the LMS sends keys that this version does not know; they become columns of the CSV: %s", unknown
        )
    return FlatSnapshot(
        path=path,
        scope=raw.scope,
        snapshot_at=raw.snapshot_at,
        rows=raw.rows,
        columns=tuple(columns.values()),
        unknown_keys=unknown,
        names=names,
        hashed_columns=hashed_columns(names, columns, fields),
        hash_key_id=key_id(key) if key else None,
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        seconds=time.monotonic() - began,
    )


def hashed_columns(names: ColumnNames, columns: dict[str, str], fields: Iterable[str]) -> tuple[str, ...]:
    """What is hashed: columns by their names, and what was found among the custom fields as it is configured."""
    own = {name for name in names.hashed if names.custom_field(name)}
    found = sorted(own.difference(names.unhashed_fields(fields)))
    return (*(column for key, column in columns.items() if names.hashing(key)), *found)


def write_pages(
    raw: RawSnapshot, columns: dict[str, str], path: Path, names: ColumnNames, hash_key: str | None
) -> set[str]:
    """Write every page's items under `columns` (key to column); which custom fields were hashed."""
    schema = pa.schema([(name, pa.string()) for name in columns.values()])
    fields: set[str] = set()
    with create_private(path) as file, pa.csv.CSVWriter(file, schema, write_options=_CSV) as writer:
        for page in raw.files():
            with pa.OSFile(str(page)) as source:
                items = pa.ipc.open_file(source).read_all()
            writer.write_table(pa.table([column(items, key, names, hash_key, fields) for key in columns], schema))
    return fields


def column(items: pa.Table, key: str, names: ColumnNames, hash_key: str | None, fields: set[str]) -> pa.Array:
    """One key's texts: GUIDs in lower case, null where the page leaves the key out; hashed where that is asked for.

    Args:
        fields: gets the names of the custom fields that were hashed.
    """
    if key not in items.column_names:
        return pa.nulls(len(items), pa.string())
    # the LMS writes GUIDs in either case, which a text column would take for two values
    texts = pc.utf8_lower(items[key]) if key in names.stream.guid_keys else items[key]
    if hash_key is None:
        return texts
    if key == names.stream.custom_fields:
        return hashed_fields(texts, names.hashes_field, hash_key, fields) if names.hashes_fields else texts
    return hashed_texts(texts, hash_key) if names.hashing(key) else texts
