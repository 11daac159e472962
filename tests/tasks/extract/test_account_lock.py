"""Runs of one LMS account take turns, whatever flow they are of."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.lms_to_s3 import lms_to_s3
from sandbox import faults
from sandbox.people import DEPARTMENT
from sandbox.prefect_server import PrefectServer
from sandbox.stack import ROOT, Sandbox
from tasks.credentials import lms_account
from tasks.errors import LmsUnavailable
from tasks.extract.account_lock import limit_name, one_run_an_account

HOLDER = """
import sys, time
from tasks.extract import account_lock
account_lock.DEAD_AFTER_S, account_lock.REFRESH_S = float(sys.argv[1]), 1.0
with account_lock.one_run_an_account(None):
    print("held", flush=True)
    sys.stdin.readline()
print("freed", flush=True)
"""
STREAMS: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


@pytest.fixture
def locking(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox whose runs take the lock, unlike those of other tests."""
    monkeypatch.setattr("tasks.extract.account_lock.is_shared", lambda: True)
    return in_process


def test_runs_of_two_flows_do_not_end_each_others_session(clean: Sandbox, server: PrefectServer) -> None:
    clean.lms.add_people(30)
    clean.lms.inject(faults.delay(1.5, times=None))
    env = {"PREFECT_API_URL": server.url, "LMS_PAGE_SIZE": "10", "LMS_MAX_CONNECTIONS": "1"}
    runs = [
        subprocess.Popen(**clean.command("flows/lms_to_s3.py", env=env), **STREAMS),
        subprocess.Popen(**clean.command("flows/department_sync.py", "--create-table", env=env), **STREAMS),
    ]
    logs = [run.communicate(timeout=180)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], logs
    name = ("GET", f"/departments/{DEPARTMENT}", None, 200)
    one_run = [("POST", "/authenticate", None, 200), name, *(("GET", "/users", page, 200) for page in range(4))]
    assert clean.lms.requests == 2 * one_run


def test_a_run_waits_for_the_account(locking: Sandbox) -> None:
    locking.lms.add_people(3)
    reports: list[Any] = []
    waiting = threading.Thread(target=lambda: reports.append(lms_to_s3()))
    with one_run_an_account(None):
        waiting.start()
        waiting.join(3)
        assert waiting.is_alive()
        assert locking.lms.requests == []
    waiting.join(60)
    assert reports[0]["rows"] == 3


def test_a_run_does_not_wait_for_ever(locking: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with one_run_an_account(None):  # which may have to wait for the run of the test before
        monkeypatch.setattr("tasks.extract.account_lock.LONGEST_WAIT_S", 0.5)
        with pytest.raises(LmsUnavailable, match="other runs used this LMS account"):
            lms_to_s3()
    assert len(locking.aws.alerts()) == 1


def test_another_account_has_a_turn_of_its_own(locking: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    name = limit_name(lms_account(None))
    monkeypatch.setenv("LMS_USERNAME", "another")
    assert limit_name(lms_account(None)) != name
    with one_run_an_account(None), concurrency(name, strict=False, timeout_seconds=5):
        pass


@pytest.fixture
def short_lived(clean: Sandbox, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrefectServer]:
    """A server of this test's own, which may be killed, and a lock that is free 8 seconds after its holder's death."""
    for name, value in clean.environment().items():
        if not name.startswith("PREFECT_"):
            monkeypatch.setenv(name, value)
    for name, seconds in {"DEAD_AFTER_S": 8.0, "REFRESH_S": 1.0, "POLL_S": 0.5, "LONGEST_WAIT_S": 60.0}.items():
        monkeypatch.setattr(f"tasks.extract.account_lock.{name}", seconds, raising=False)
    own_server = PrefectServer({**clean.environment(), "PREFECT_HOME": str(tmp_path)})
    with own_server as server, temporary_settings({PREFECT_API_URL: server.url}):
        yield server


def holder(clean: Sandbox, server: PrefectServer, dead_after_s: float = 8.0) -> subprocess.Popen[str]:
    """Another run that holds the account until it is told to end."""
    command = {**clean.command("-c", HOLDER, str(dead_after_s), env={"PREFECT_API_URL": server.url}), "cwd": ROOT}
    held = subprocess.Popen(**command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None and held.stdout.readline() == "held\n"
    return held


def waited() -> float:
    """How long taking the account lock took."""
    began = time.monotonic()
    with one_run_an_account(None):
        return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize(
    "dies", ["the run", "the machine of both", "the server, then the run", "the run, then the server"]
)
def test_whatever_dies_the_next_run_goes_on(clean: Sandbox, short_lived: PrefectServer, dies: str) -> None:
    held = holder(clean, short_lived)
    if dies == "the server, then the run":
        short_lived.restart()
    held.send_signal(signal.SIGKILL)
    held.wait(10)
    if dies in ("the machine of both", "the run, then the server"):
        short_lived.restart()
    assert waited() < 8 + 10
    assert waited() < 5  # and the one after it has nothing to wait for


@pytest.mark.slow
def test_a_run_that_outlives_a_restart_of_the_server_keeps_the_lock_and_frees_it(
    clean: Sandbox, short_lived: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tasks.extract.account_lock.DEAD_AFTER_S", 20.0
    )  # Prefect's client waits longer from one try to the next
    held = holder(clean, short_lived, 20.0)
    short_lived.restart()
    assert refreshed_within(60)  # the restart itself may take longer than the 20 seconds
    assert not taken_within(30)
    out, _ = held.communicate("end\n", timeout=60)
    assert (out, held.returncode) == ("freed\n", 0)
    assert waited() < 6


def refreshed_within(seconds: float) -> bool:
    """Whether the living run said again that it holds the lock."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with get_client(sync_client=True) as client:
            if client.read_global_concurrency_limit_by_name(limit_name(lms_account(None))).active_slots:
                return True
        time.sleep(0.3)
    return False


def taken_within(seconds: float) -> bool:
    """Whether the lock came free while another run that waits asked for it again and again."""
    from tasks.extract.account_lock import try_acquire

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with get_client(sync_client=True) as client:
            if try_acquire(client, limit_name(lms_account(None))):
                return True
        time.sleep(0.3)
    return False


@pytest.mark.slow
def test_a_run_goes_on_where_the_server_stays_down(
    clean: Sandbox, short_lived: PrefectServer, caplog: pytest.LogCaptureFixture
) -> None:
    holder(clean, short_lived).kill()
    short_lived.kill()
    assert waited() < 90
    assert "continuing without it" in caplog.text


@pytest.mark.slow
def test_a_limit_of_a_former_version_whose_slot_stayed_taken_comes_free(
    clean: Sandbox, short_lived: PrefectServer
) -> None:
    name = limit_name(lms_account(None))
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
        client.increment_concurrency_slots_with_lease(names=[name], slots=1, mode="concurrency", lease_duration=60)
    short_lived.restart()
    assert waited() < 8 + 10
