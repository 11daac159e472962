"""From raw pages to one CSV in which every value is what the LMS wrote."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from prefect import task

from tasks.columns import ColumnNames
from tasks.extract.fetch import RawSnapshot
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
    sha256: str
    bytes: int
    seconds: float


@task(name="flatten-pages", task_run_name="flatten-pages {raw.scope.label}", **IN_MEMORY, **ONCE)
def flatten_pages(raw: RawSnapshot, names: ColumnNames, path: Path) -> FlatSnapshot:
    """The snapshot's rows lie in one CSV at `path`, one line an item, in the order of the pages.

    The header holds the columns of the API's keys, then those of unknown keys; a key that a page leaves out
    is null there. Streams page by page and holds one. Not retried: the same pages give the same file.

    Raises:
        ConfigError: two keys would share one column.
    """
    began = time.monotonic()
    known = raw.scope.stream.keys
    columns = names.columns((*known, *(key for key in raw.keys if key not in known)))
    write_pages(raw, columns, path)
    if raw.rows and (unmatched := names.unmatched(raw.keys)):
        run_logger().warning(
            "LMS_EXCLUDE_COLUMNS names %s, and there is no such key or column: is it spelled as the LMS does?",
            unmatched,
        )
    unknown = tuple(key for key in columns if key not in known)
    if unknown:
        run_logger().warning("the LMS sends keys that this version does not know, carried as columns: %s", unknown)
    return FlatSnapshot(
        path=path,
        scope=raw.scope,
        snapshot_at=raw.snapshot_at,
        rows=raw.rows,
        columns=tuple(columns.values()),
        unknown_keys=unknown,
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        seconds=time.monotonic() - began,
    )


def write_pages(raw: RawSnapshot, columns: dict[str, str], path: Path) -> None:
    """Write every page's items under `columns` (key to column)."""
    guid_keys = raw.scope.stream.guid_keys
    schema = pa.schema([(name, pa.string()) for name in columns.values()])
    with create_private(path) as file, pa.csv.CSVWriter(file, schema, write_options=_CSV) as writer:
        for page in raw.files():
            with pa.OSFile(str(page)) as source:
                items = pa.ipc.open_file(source).read_all()
            writer.write_table(pa.table([column(items, key, guid_keys) for key in columns], schema))


def column(items: pa.Table, key: str, guid_keys: frozenset[str]) -> pa.Array:
    """One key's texts: GUIDs in lower case, null where the page leaves the key out."""
    if key not in items.column_names:
        return pa.nulls(len(items), pa.string())
    return pc.utf8_lower(items[key]) if key in guid_keys else items[key]
