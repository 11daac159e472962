"""One measured step in a process of its own: `python -m benchmarks.steps NAME` prints seconds and peak MB as JSON."""

import csv
import json
import logging
import re
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import requests
from prefect import flow

from commands.flow_script import main as run_script
from flows.department_sync import department_sync
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


@flow(name="empty")
def empty() -> None:
    """What Prefect itself costs."""


def throw_away() -> None:
    """The reference of the extract: read the same pages, by as many connections, and keep nothing."""
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
    """The same CSV by one INSERT … ON CONFLICT a row, as a hand-written loader does it, into the same table."""
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


def sync() -> None:
    """`department_sync` as a script."""
    run_script(department_sync, ["--create-table"])


def nothing() -> None:
    """An empty flow as a script, with all of this project's imports."""
    run_script(empty, [])


def usual() -> None:
    """The same empty flow as scripts usually start one: Prefect starts its server when the flow does."""
    empty()


STEPS: dict[str, Callable[[], None]] = {
    step.__name__: step for step in (throw_away, fetch, extract, load, row_by_row, sync, nothing, usual)
}


def main() -> None:
    """Run the step that the command line names."""
    logging.disable(logging.WARNING)
    began = time.perf_counter()
    STEPS[sys.argv[1]]()
    seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}) + "\n")


def peak_mb() -> float:
    """The most memory this process had; getrusage would count its parent's, from before the exec."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) / 1024


if __name__ == "__main__":
    main()
