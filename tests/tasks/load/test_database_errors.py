"""A database that refuses, drops, restarts or is slow: a clear error, never half a load."""

import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from blocks.database import CONNECT_ARGS
from commands.loads import last_loads
from sandbox.stack import ROOT
from sandbox.tls import pass_on
from tasks.errors import AuthError, LoadFailed, PipelineError, Unreachable
from tasks.load import database as module
from tasks.load.loaded import Loaded
from tasks.load.table_lock import LOCK_TABLE
from tests.conftest import Database
from tests.support.two_snapshots import ROWS, load, state

LOADING = "application_name = 'department-members'"
FIRST_PART = 300_000  # bytes, of the file's 2 million


def in_mid_copy(
    database: Database, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], path: Path, number: int
) -> PipelineError:
    """Load, and do something to the server once it has got the first part of the file; the error that came of it."""
    running: list[tuple[str]] = []
    acted = threading.Event()
    port = int(database.variables["BUSINESS_TRACKING_PORT"])

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            sent = 0
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
                threading.Thread(target=pass_on, args=(server, self.request), daemon=True).start()
                while data := self.request.recv(1 << 16):
                    server.sendall(data)
                    sent += len(data)
                    if sent > FIRST_PART and not running:
                        running.extend(database.query(f"SELECT left(query, 4) FROM pg_stat_activity WHERE {LOADING}"))
                        act()
                        acted.set()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as relay, monkeypatch.context() as patch:
        relay.daemon_threads = True
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        patch.setenv("BUSINESS_TRACKING_PORT", str(relay.server_address[1]))
        with pytest.raises(PipelineError) as caught:
            load(path, number)
        assert acted.wait(60)
        relay.shutdown()
    assert running == [("COPY",)]
    return caught.value


def end_session(database: Database) -> None:
    database.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LOADING}")


def test_a_connection_dropped_in_mid_copy_changes_nothing_and_may_be_retried(
    database: Database, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(files[0], 0)
    before = state(database)
    admin = Database({**database.variables, "BUSINESS_TRACKING_USER": "postgres"}, None)
    assert isinstance(in_mid_copy(database, monkeypatch, lambda: end_session(admin), files[1], 1), Unreachable)
    assert state(database) == before
    assert load(files[1], 1).updated == ROWS - 100


def test_a_server_restarted_in_mid_transaction_changes_nothing_and_may_be_retried(
    database: Database, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(files[0], 0)
    before = state(database)
    server = database.server
    assert server is not None
    assert isinstance(in_mid_copy(database, monkeypatch, server.restart, files[1], 1), Unreachable)
    assert state(database) == before
    assert load(files[1], 1).departed == 100


def test_a_server_that_never_answers_ends_in_bounded_time(
    database: Database, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONNECT_ARGS, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("BUSINESS_TRACKING_PORT", str(deaf.getsockname()[1]))
        began = time.monotonic()
        with pytest.raises(Unreachable, match="cannot be reached"):
            load(files[0], 0)
    assert time.monotonic() - began < 10


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
    monkeypatch.setattr(module, "SESSION", module.SESSION.replace("60s", "300ms"))
    monkeypatch.setattr("tasks.load.fingerprints.LOCK_TIMEOUT", module.LOCK_TIMEOUT.replace("60s", "300ms"))
    holder = database.connect()
    holder.cursor().execute("LOCK TABLE department_members IN SHARE ROW EXCLUSIVE MODE")
    with pytest.raises(Unreachable, match="another session held a lock .* 55P03"):
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


def test_a_load_does_not_wait_for_another_without_end(
    database: Database, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.load.table_lock.LONGEST_WAIT_S", 0.6)
    holder = database.connect()
    holder.cursor().execute(LOCK_TABLE, ('"public"."department_members"',))
    with pytest.raises(LoadFailed, match="another load has held the table"):
        load(files[0], 0)
    holder.close()
    assert load(files[0], 0).inserted == ROWS


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
    assert (shown.returncode, shown.stderr) == (0, "")
    heads, load_2 = shown.stdout.splitlines()
    assert heads.endswith("version")
    assert "members.csv" in load_2
