"""From raw pages to one CSV in which every value is what the LMS wrote."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from prefect import task

from tasks.columns import GUID_KEYS, MEMBER_KEYS, ColumnNames
from tasks.extract.fetch import RawSnapshot
from tasks.files import create_private, sha256_of
from tasks.log import run_logger
from tasks.task_options import IN_MEMORY, ONCE

# Null is an empty unquoted field and every value is quoted, so "" stays apart from null and COPY reads it as it is.
_CSV = pa.csv.WriteOptions(quoting_style="all_valid")


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


@task(name="flatten-members", **IN_MEMORY, **ONCE)
def flatten_members(raw: RawSnapshot, names: ColumnNames, path: Path) -> FlatSnapshot:
    """The snapshot's rows lie in one CSV at `path`, one line a member, in the order of the pages.

    The header holds the API's 37 columns, then those of unknown keys; a key that a page leaves out
    is null there. Streams page by page and holds one. Not retried: the same pages give the same file.

    Raises:
        ConfigError: two keys would share one column.
    """
    began = time.monotonic()
    columns = names.columns((*MEMBER_KEYS, *(key for key in raw.keys if key not in MEMBER_KEYS)))
    write_pages(raw, columns, path)
    unknown = tuple(key for key in columns if key not in MEMBER_KEYS)
    if unknown:
        run_logger().warning("the LMS sends keys that this version does not know, carried as columns: %s", unknown)
    return FlatSnapshot(
        path=path,
        department_id=raw.department_id,
        snapshot_at=raw.snapshot_at,
        rows=raw.rows,
        columns=tuple(columns.values()),
        unknown_keys=unknown,
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        seconds=time.monotonic() - began,
    )


def write_pages(raw: RawSnapshot, columns: dict[str, str], path: Path) -> None:
    """Write every page's members under `columns` (key to column)."""
    schema = pa.schema([(name, pa.string()) for name in columns.values()])
    with create_private(path) as file, pa.csv.CSVWriter(file, schema, write_options=_CSV) as writer:
        for page in raw.files():
            with pa.OSFile(str(page)) as source:
                members = pa.ipc.open_file(source).read_all()
            writer.write_table(pa.table([column(members, key) for key in columns], schema))


def column(members: pa.Table, key: str) -> pa.Array:
    """One key's texts: GUIDs in lower case, null where the page leaves the key out."""
    if key not in members.column_names:
        return pa.nulls(len(members), pa.string())
    return pc.utf8_lower(members[key]) if key in GUID_KEYS else members[key]
