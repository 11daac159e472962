"""Snapshots made by hand, for tests of what comes after the fetch."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from sandbox.people import DEPARTMENT
from tasks.extract.decode import PageDecoder
from tasks.extract.fetch import RawSnapshot
from tasks.extract.pages import keep_page
from tasks.files import sha256_of
from tasks.s3 import S3Object, Snapshot
from tasks.snapshot_ids import distinct_ids
from tasks.streams import MEMBERS, Scope

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def raw_snapshot(folder: Path, *pages: list[dict[str, Any]] | bytes) -> RawSnapshot:
    """Pages on disk as a fetch leaves them; a page may be given as the JSON of its envelope."""
    kept, decoder, scope = [], PageDecoder(MEMBERS), Scope(MEMBERS, DEPARTMENT)
    for index, page in enumerate(pages):
        body = page if isinstance(page, bytes) else json.dumps({"totalItems": 0, "users": page}).encode()
        kept.append(keep_page(body, decoder, folder, scope, index))
    keys = tuple(dict.fromkeys(key for page in kept for key in page.keys))
    rows, replaced = sum(page.rows for page in kept), sum(page.replaced_characters for page in kept)
    return RawSnapshot(folder, scope, BEGAN, len(pages), rows, keys, 0, replaced, 1, 1, 0, 0.0, distinct_ids([]))


def write_csv(path: Path, rows: Sequence[Mapping[str, str | None]]) -> Path:
    """A CSV as the extract writes it: null bare, everything else quoted."""
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["lms_user_id"]
    table = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in columns})
    pa.csv.write_csv(table, path, pa.csv.WriteOptions(quoting_style="all_valid"))
    return path


def snapshot(path: Path, number: int = 0, *, rows: int | None, department_id: str | None = DEPARTMENT) -> Snapshot:
    """What read_object gives for that file; the `number` orders snapshots, None as `rows` makes it a plain file."""
    is_plain = rows is None
    return Snapshot(
        path=path,
        object=S3Object("bucket", "members.csv", f"version-{number}"),
        etag=f"etag-{number}",
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        rows=rows,
        scope=None if is_plain or department_id is None else Scope(MEMBERS, department_id),
        snapshot_at=None if is_plain else BEGAN + timedelta(days=number),
    )
