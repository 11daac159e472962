"""How far the fetch is: seen in Prefect's UI, and in a terminal."""

import os
import pty
import subprocess
import sys

import pytest

from flows.lms_to_s3 import lms_to_s3
from sandbox.stack import ROOT, Sandbox
from tests.support.whole_stack import artifacts

IN_A_TERMINAL = """
import logging
from tasks.progress import progress
with progress("reading pages", 3, logging.getLogger()) as advance:
    for done in (1, 2, 3):
        advance(done)
"""


def test_a_long_fetch_shows_its_progress_in_the_ui(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.progress.EVERY_S", 0.0)
    monkeypatch.setenv("LMS_PAGE_SIZE", "10")
    in_process.lms.add_people(45)
    assert lms_to_s3()["rows"] == 45
    [artifact] = artifacts("lms-to-s3-progress")
    assert (artifact.type, artifact.data) == ("progress", 100.0)


def test_a_short_fetch_makes_no_artifact(in_process: Sandbox) -> None:
    before = len(artifacts("lms-to-s3-progress"))
    in_process.lms.add_people(3)
    lms_to_s3()
    assert len(artifacts("lms-to-s3-progress")) == before


def test_a_progress_that_cannot_be_shown_ends_no_fetch(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("Prefect is gone")

    monkeypatch.setattr("tasks.progress.EVERY_S", 0.0)
    monkeypatch.setattr("tasks.progress.create_progress_artifact", refuse)
    monkeypatch.setenv("LMS_PAGE_SIZE", "10")
    in_process.lms.add_people(45)
    assert lms_to_s3()["rows"] == 45


def test_a_terminal_shows_a_bar() -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_TERMINAL],
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment,
        timeout=60,
    )
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "reading pages" in shown
    assert "3/3" in shown
