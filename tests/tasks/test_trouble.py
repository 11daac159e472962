"""A database that refuses, drops, restarts or is slow: a clear error, never half a load."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.postgres import Postgres
from sandbox.stack import ROOT
from tasks import database as module
from tasks.errors import AuthError, PipelineError, Unreachable
from tasks.ledger import last_loads
from tasks.options import LoadOptions
from tasks.schema import inspect_schema
from tasks.upsert import Loaded, upsert_members
from tests.conftest import Database
from tests.tasks.snapshots import snapshot, write_csv

ROWS = 20_000
COLUMNS = "lms_user_id uuid PRIMARY KEY, department_id uuid, first_name text, date_edited timestamptz, departed_at timestamptz"


def uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


@pytest.fixture(scope="module")
def own_database() -> Iterator[Database]:
    """A server that these tests may stop."""
    with Postgres(18) as server:
        yield Database(server.environment(), server)


@pytest.fixture
def database(own_database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    for name, value in own_database.environment().items():
        monkeypatch.setenv(name, value)
    own_database.query(
        f"DROP TABLE IF EXISTS department_members, lms_loads; CREATE TABLE department_members ({COLUMNS})"
    )
    return own_database


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two snapshots of one department: in the second everybody has another name, some left, some joined."""
    folder = tmp_path_factory.mktemp("trouble")
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


def load(path: Path, number: int) -> Loaded:
    table = inspect_schema.fn("public", "department_members")
    source = snapshot(path, number, rows=ROWS, department_id=uid(1))
    return upsert_members.fn(source, table, LoadOptions(on_departure="mark"))


def state(database: Database) -> list[tuple[Any, ...]]:
    return database.query(
        "SELECT md5(string_agg(concat_ws('|', lms_user_id, first_name, departed_at), '' ORDER BY lms_user_id)),"
        " count(*), (SELECT count(*) FROM lms_loads) FROM department_members"
    )


def in_mid_copy(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], path: Path, number: int) -> PipelineError:
    """Load, and do something to the server while a COPY is under way; the error that came of it."""
    acted = threading.Event()

    class Tripwire(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if size == 1 << 20 and not acted.is_set():  # what psycopg2's COPY asks for
                acted.set()
                act()
            return super().read(size)

    with monkeypatch.context() as patch:
        patch.setattr("tasks.staging.io", SimpleNamespace(BytesIO=Tripwire))
        with pytest.raises(PipelineError) as caught:
            load(path, number)
    assert acted.is_set()
    return caught.value


def end_session(database: Database) -> None:
    database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'department-members'"
    )


def test_a_connection_dropped_in_mid_copy_changes_nothing_and_may_be_retried(
    database: Database, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(files[0], 0)
    before = state(database)
    admin = Database({**database.variables, "BUSINESS_TRACKING_USER": "postgres"}, None)
    assert isinstance(in_mid_copy(monkeypatch, lambda: end_session(admin), files[1], 1), Unreachable)
    assert state(database) == before
    assert load(files[1], 1).updated == ROWS - 100


def test_a_server_restarted_in_mid_transaction_changes_nothing_and_may_be_retried(
    database: Database, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(files[0], 0)
    before = state(database)
    server = database.server
    assert server is not None
    assert isinstance(in_mid_copy(monkeypatch, server.restart, files[1], 1), Unreachable)
    assert state(database) == before
    assert load(files[1], 1).departed == 100


def test_a_read_only_server_may_be_retried(
    database: Database, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    with pytest.raises(Unreachable, match="25006"):
        load(files[0], 0)


def test_a_table_that_somebody_holds_ends_in_a_lock_timeout(
    database: Database, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(files[0], 0)
    impatient = module.SESSION.replace("60s", "300ms")
    monkeypatch.setattr("tasks.upsert.SESSION", impatient)
    holder = database.connect()
    holder.cursor().execute("LOCK TABLE department_members IN SHARE ROW EXCLUSIVE MODE")
    with pytest.raises(Unreachable, match="55P03"):
        load(files[1], 1)
    holder.close()
    assert load(files[1], 1).updated == ROWS - 100


@pytest.mark.parametrize(
    ("revoked", "says"),
    [("INSERT ON department_members", "department_members"), ("CREATE ON SCHEMA public", "lms_loads")],
)
def test_a_missing_right_is_named(
    database: Database, files: list[Path], monkeypatch: pytest.MonkeyPatch, revoked: str, says: str
) -> None:
    admin = Database({**database.variables, "BUSINESS_TRACKING_USER": "postgres"}, None)
    admin.query(
        "DROP ROLE IF EXISTS humble; CREATE ROLE humble LOGIN PASSWORD 'humble';"
        "GRANT ALL ON department_members TO humble; GRANT ALL ON SCHEMA public TO humble;"
        f"REVOKE {revoked} FROM humble"
    )
    monkeypatch.setenv("BUSINESS_TRACKING_USER", "humble")
    monkeypatch.setenv("BUSINESS_TRACKING_PASSWORD", "humble")
    try:
        with pytest.raises(AuthError, match=says) as caught:
            load(files[0], 0)
        assert not caught.value.retriable
    finally:
        admin.query("DROP OWNED BY humble; DROP ROLE humble")


def test_two_loads_of_one_table_wait_for_each_other(database: Database, files: list[Path]) -> None:
    results: list[Loaded | BaseException] = []

    def run(path: Path, number: int) -> None:
        try:
            results.append(load(path, number))
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(path, number)) for number, path in enumerate(files)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(result, Loaded) for result in results), results
    assert database.query("SELECT DISTINCT first_name FROM department_members WHERE departed_at IS NULL") == [
        ("name 1",)
    ]


def test_the_last_loads_can_be_shown(database: Database, files: list[Path]) -> None:
    load(files[0], 0)
    load(files[1], 1)
    assert [(row["load"], row["updated"], row["departed"]) for row in last_loads("public", 5, None)] == [
        (2, ROWS - 100, 100),
        (1, 0, 0),
    ]
    shown = subprocess.run(
        [sys.executable, "-m", "tasks.ledger", "--last", "1"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (shown.returncode, shown.stdout.count("members.csv")) == (0, 1)


def load_in_a_child(path: Path, number: int) -> int:
    """A process of its own that loads; its id. Forked, for Python's start would only cost time."""
    if pid := os.fork():
        return pid
    try:
        load(path, number)
    finally:
        os._exit(0)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_at_twenty_moments_and_run_again_the_table_is_that_of_an_uninterrupted_run(
    database: Database, files: list[Path]
) -> None:
    load(files[0], 0)
    began = time.monotonic()
    load(files[1], 1)
    seconds = time.monotonic() - began
    expected = state(database)
    outcomes = set()
    for kill in range(20):
        database.query("TRUNCATE department_members, lms_loads")
        load(files[0], 0)
        before = state(database)
        child = load_in_a_child(files[1], 1)
        time.sleep(seconds * 1.2 * kill / 20)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        wait_until_quiet(database)
        found = state(database)
        assert found in (before, expected), f"half a load after {kill / 20:.0%}"
        outcomes.add(found == expected)
        load(files[1], 1)
        assert state(database) == expected
    assert False in outcomes


def wait_until_quiet(database: Database) -> None:
    """The server notices that its client is gone, and rolls back."""
    for _ in range(500):
        if not database.query("SELECT 1 FROM pg_stat_activity WHERE application_name = 'department-members'"):
            return
        time.sleep(0.02)
    raise TimeoutError("the killed client's session did not end")
