"""Two snapshots of one department, large enough to be interrupted: in the second everybody has another name."""

from pathlib import Path
from typing import Any

from tasks.load.loaded import Loaded
from tasks.load.schema import inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tests.conftest import Database
from tests.support.snapshots import snapshot, write_csv

ROWS = 20_000
COLUMNS = "lms_user_id uuid PRIMARY KEY, department_id uuid, first_name text, date_edited timestamptz, departed_at timestamptz"


def uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def load(path: Path, number: int) -> Loaded:
    table = inspect_schema.fn("public", "department_members")
    source = snapshot(path, number, rows=ROWS, department_id=uid(1))
    return upsert_snapshot.fn(source, table, LoadOptions(on_departure="mark"))


def state(database: Database) -> list[tuple[Any, ...]]:
    return database.query(
        "SELECT md5(string_agg(concat_ws('|', lms_user_id, first_name, departed_at), '' ORDER BY lms_user_id)),"
        " count(*), (SELECT count(*) FROM lms_loads) FROM department_members"
    )


def write_two(folder: Path) -> list[Path]:
    """The two files; in the second 100 members left and 100 joined."""
    return [
        write_csv(
            folder / f"{number}.csv",
            [
                {
                    "lms_user_id": uid(n),
                    "department_id": uid(1),
                    "first_name": f"name {number}",
                    "date_edited": "2026-01-01",
                }
                for n in range(number * 100, ROWS + number * 100)
            ],
        )
        for number in range(2)
    ]
