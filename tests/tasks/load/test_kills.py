"""Killed (SIGKILL) at any moment and run again: the table and the object are those of an uninterrupted run."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from sandbox.aws import BUCKET, SimulatedAws
from sandbox.lms import SimulatedLms
from sandbox.people import DEPARTMENT
from tasks.columns import ColumnNames
from tasks.extract.fetch import authenticate, fetch_pages
from tasks.extract.flatten import flatten_pages
from tasks.extract.publish import write_csv
from tasks.files import run_folder
from tasks.s3 import S3Object, read_object
from tasks.streams import MEMBERS, Scope
from tests.conftest import Database
from tests.support.two_snapshots import load, state


def in_a_child(act: Callable[[], object]) -> int:
    """A process of its own that does it; its id. Forked, for Python's start would only cost time."""
    if pid := os.fork():
        return pid
    try:
        act()
    finally:
        os._exit(0)


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


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
    outcomes = set[Any]()
    for moment in range(20):
        database.query("TRUNCATE department_members, lms_loads")
        load(files[0], 0)
        before = state(database)
        child = in_a_child(lambda: load(files[1], 1))
        time.sleep(seconds * 1.2 * moment / 20)
        kill(child)
        wait_until_quiet(database)
        found = state(database)
        assert found in (before, expected), f"half a load after {moment / 20:.0%}"
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


def extract() -> None:
    """The extract's four tasks in a row."""
    with run_folder() as folder:
        with authenticate.fn(None) as session:
            raw = fetch_pages.fn(session, Scope(MEMBERS, DEPARTMENT), folder)
        flat = flatten_pages.fn(raw, ColumnNames(), folder / "members.csv")
        write_csv.fn(flat, BUCKET, "members.csv")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("members", "moments"), [(1000, 20), (6000, 10)], ids=["one upload", "in parts"])
def test_an_extract_killed_at_any_moment_leaves_the_old_object_or_the_new_one(
    lms: SimulatedLms, aws: SimulatedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: int, moments: int
) -> None:
    part = 5 << 20  # the least S3 allows
    monkeypatch.setattr(
        "tasks.extract.publish.UPLOAD", TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    )
    monkeypatch.setenv("LMS_PAGE_SIZE", "500")
    lms.add_people(members)
    began = time.monotonic()
    extract()
    seconds = time.monotonic() - began
    outcomes = set[Any]()
    for moment in range(3 * moments):  # later and later, until some were too late, however busy the machine is
        if moment >= moments and outcomes == {False, True}:
            break
        before = read_object.fn(S3Object(BUCKET, "members.csv"), tmp_path / "before.csv")
        lms.add_people(1)
        child = in_a_child(extract)
        time.sleep(seconds * (0.5 + 0.8 * moment / moments))
        kill(child)
        found = read_object.fn(S3Object(BUCKET, "members.csv"), tmp_path / "found.csv")  # rows and checksum agree
        assert found.object == before.object or found.rows == len(lms.members)
        outcomes.add(found.object == before.object)
        extract()
        assert read_object.fn(S3Object(BUCKET, "members.csv"), tmp_path / "again.csv").rows == len(lms.members)
    assert outcomes == {False, True}
