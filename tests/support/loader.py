"""A table, and snapshots loaded into it one after another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.load.loaded import Loaded
from tasks.load.schema import inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tasks.s3 import Snapshot
from tests.conftest import Database
from tests.support.snapshots import snapshot, write_csv

SCHEMA = "Business Tracking"
TABLE = '"Business Tracking".department_members'
DEPARTMENT = "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11"
COLUMNS = """
    lms_user_id uuid PRIMARY KEY, department_id uuid, first_name varchar(10), gender integer,
    date_edited timestamptz, custom_fields jsonb, departed_at timestamptz
"""
Row = dict[str, str | None]


class Loader:
    """A table in a schema with a space in its name, and snapshots loaded into it one after another."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.loads = 0
        self.rejects: list[bytes] = []
        database.query(f'DROP SCHEMA IF EXISTS "{SCHEMA}" CASCADE; CREATE SCHEMA "{SCHEMA}"')
        self.create(COLUMNS)

    def create(self, columns: str) -> None:
        self.database.query(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} ({columns})")

    def snapshot(self, rows: Sequence[Mapping[str, str | None]], *, plain: bool = False) -> Snapshot:
        self.loads += 1
        path = write_csv(self.folder / f"{self.loads}.csv", rows)
        return snapshot(path, self.loads, rows=None if plain else len(rows))

    def load(self, rows: Sequence[Mapping[str, str | None]] | Snapshot, **options: Any) -> Loaded:
        source = rows if isinstance(rows, Snapshot) else self.snapshot(rows)
        table = inspect_schema.fn(SCHEMA, "department_members")
        return upsert_snapshot.fn(source, table, LoadOptions(**options))

    def rows(self, columns: str = "lms_user_id, first_name") -> list[tuple[Any, ...]]:
        return self.database.query(f"SELECT {columns} FROM {TABLE} ORDER BY lms_user_id")

    def ledger(self, columns: str = "count(*)") -> list[tuple[Any, ...]]:
        return self.database.query(f'SELECT {columns} FROM "{SCHEMA}".lms_loads')


def uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def member(number: int, first_name: str | None = "Ada", edited: str = "2026-01-01T00:00:00Z", **more: Any) -> Row:
    core = {"lms_user_id": uid(number), "department_id": DEPARTMENT, "first_name": first_name}
    return {**core, "gender": "1", "date_edited": edited, "custom_fields": "{}", **more}


def counts(loaded: Loaded) -> dict[str, int]:
    return {name: number for name, number in loaded.counts().items() if number}
