"""One measured step in its own process: `python -m benchmarks.steps NAME` prints seconds and peak MB as JSON."""

import csv
import json
import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import requests

from benchmarks.as_script import peak_mb
from commands.flow_script import import_early
from tasks.columns import ColumnNames
from tasks.extract.fetch import authenticate, fetch_pages
from tasks.extract.flatten import flatten_pages
from tasks.extract.pages import page_request
from tasks.extract.publish import write_csv
from tasks.files import run_folder, sha256_of
from tasks.load.database import quoted, transaction
from tasks.load.evolve import create_missing
from tasks.load.schema import inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tasks.s3 import S3Object, Snapshot
from tasks.settings import Resolver, extract_settings
from tasks.streams import MEMBERS, Scope

ARGUMENTS = sys.argv[2:]


def throw_away() -> None:
    """The reference for the extract: read the same pages with as many connections, and keep nothing."""
    with authenticate.fn(None) as session:
        scope = Scope(MEMBERS, Resolver(None).environment["DEPARTMENT_ID"])
        headers = {**session._headers(), "Authorization": f"Bearer {session._token}"}
        http = requests.Session()

        def read(page: int) -> int:
            path, query = page_request(scope, page, 1000)
            answer = http.get(session.account.rest_api_url + path, params=query, headers=headers, timeout=60)
            return len(answer.content)

        with ThreadPoolExecutor(session.account.max_connections) as pool:
            for size in pool.map(read, range(int(ARGUMENTS[0]) // 1000 + 1)):
                if size < len('{"users":[]}'):
                    raise RuntimeError("a page was no page")


def fetch() -> None:
    """Sign in and read every page."""
    settings = extract_settings(Resolver(None), MEMBERS, None, None, None, None, None)
    with run_folder() as folder, authenticate.fn(None) as session:
        fetch_pages.fn(session, settings.scopes[0], folder)


def extract() -> None:
    """Sign in, fetch, flatten and write, without Prefect's engine."""
    settings = extract_settings(Resolver(None), MEMBERS, None, None, None, None, None)
    with run_folder() as folder:
        with authenticate.fn(None) as session:
            raw = fetch_pages.fn(session, settings.scopes[0], folder)
        flat = flatten_pages.fn(raw, ColumnNames(), folder / "members.csv")
        write_csv.fn(flat, settings.bucket, settings.path_template)


def load() -> None:
    """Inspect, stage and upsert the CSV that argument 1 names, as a new snapshot.

    Argument 3 may be "history", or "staged" to stage every record, known or not.
    """
    path = Path(ARGUMENTS[0])
    now = datetime.now(UTC)
    digest = sha256_of(path)
    environment = Resolver(None).environment
    scope, source = Scope(MEMBERS, environment["DEPARTMENT_ID"]), S3Object(environment["S3_BUCKET_NAME"], path.name)
    snapshot = Snapshot(path, source, now.isoformat(), digest, path.stat().st_size, int(ARGUMENTS[1]), scope, now)
    table = inspect_schema.fn("public", "department_members", create_table=True)
    upsert_snapshot.fn(
        snapshot, table, LoadOptions(history="history" in ARGUMENTS, fingerprints="staged" not in ARGUMENTS)
    )


def row_by_row() -> None:
    """Load the same CSV into the same table with one INSERT … ON CONFLICT per row, as a hand-written loader does."""
    table = inspect_schema.fn("public", "department_members", create_table=True)
    with Path(ARGUMENTS[0]).open(encoding="utf-8", newline="") as file, transaction(None) as cursor:
        create_missing(cursor, table)
        reader = csv.reader(file)
        names = [quoted(name) for name in next(reader)]
        statement = (
            f"INSERT INTO department_members ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "
            f"ON CONFLICT (lms_user_id) DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in names[1:])}"
        )
        for row in reader:
            cursor.execute(statement, [value or None for value in row])


STEPS: dict[str, Callable[[], None]] = {step.__name__: step for step in (throw_away, fetch, extract, load, row_by_row)}


def main() -> None:
    """Run the step that the command line names."""
    logging.disable(logging.WARNING)
    import_early()  # what a step would otherwise import when it first needs it
    began = time.perf_counter()
    STEPS[sys.argv[1]]()
    seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}) + "\n")


if __name__ == "__main__":
    main()
