"""Runs of one LMS account take turns, whatever flow they are of."""

import subprocess
import threading
from typing import Any

import pytest
from prefect.concurrency.sync import concurrency

from blocks.resolve import lms_account
from flows.lms_to_s3 import lms_to_s3
from sandbox import faults
from sandbox.prefect_server import PrefectServer
from sandbox.stack import Sandbox
from tasks.errors import LmsUnavailable
from tasks.turn import limit_name, one_run_an_account

STREAMS: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


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
    one_run = [("POST", "/authenticate", None, 200), *(("GET", "/users", page, 200) for page in range(4))]
    assert clean.lms.requests == 2 * one_run


def test_a_run_waits_for_the_account(in_process: Sandbox) -> None:
    in_process.lms.add_people(3)
    reports: list[Any] = []
    waiting = threading.Thread(target=lambda: reports.append(lms_to_s3()))
    with one_run_an_account(None):
        waiting.start()
        waiting.join(3)
        assert waiting.is_alive()
        assert in_process.lms.requests == []
    waiting.join(60)
    assert reports[0]["members"] == 3


def test_a_run_does_not_wait_for_ever(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.turn.LONGEST_WAIT_S", 0.5)
    with one_run_an_account(None), pytest.raises(LmsUnavailable, match="other runs used this LMS account"):
        lms_to_s3()
    assert len(in_process.aws.alerts()) == 1


def test_another_account_has_a_turn_of_its_own(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    name = limit_name(lms_account(None))
    monkeypatch.setenv("LMS_USERNAME", "another")
    assert limit_name(lms_account(None)) != name
    with one_run_an_account(None), concurrency(name, strict=False, timeout_seconds=5):
        pass
