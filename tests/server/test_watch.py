"""The watch on a real server: each thing that no run can tell of itself happens, and is told of exactly once."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.alerts import AlertTopic
from sandbox.production import BLOCKS, Production
from sandbox.webhook_service import WATCH_KEY
from tests.server.test_walks import ends
from webhooks.automations import WatchTimes
from webhooks.watch import apply

pytestmark = pytest.mark.timeout(400)
LOCK = 'SELECT pg_advisory_lock(hashtextextended(\'department-members:"public"."department_members"\', 0))'
UNWATCHED = "elsewhere/{department_id}.csv"  # a key whose event starts no load


def watch(production: Production, **seconds: float) -> None:
    """Put the watch up with shorter times."""
    times = WatchTimes(**{name: timedelta(seconds=value) for name, value in seconds.items()})
    with temporary_settings({PREFECT_API_URL: production.server.url}):
        apply(production.webhooks.url, WATCH_KEY, times)


@pytest.fixture
def watched(production: Production) -> Iterator[Production]:
    production.box.lms.add_people(5)
    yield production
    production.start_workers()
    watch(production)


@contextmanager
def held(production: Production) -> Iterator[str]:
    """A run that waits for the table's lock, alive and at work."""
    connection = production.box.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute(LOCK)
        run = production.start("department-sync", path=UNWATCHED)
        eventually(lambda: "waiting for it to finish" in logs(production, run), 90)
        try:
            yield run
        finally:
            connection.close()


def logs(production: Production, run: str) -> str:
    found = production.api("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
    return "\n".join(line["message"] for line in found)


def eventually(holds: Callable[[], Any], seconds: float) -> Any:
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"did not come about within {seconds} s"
        time.sleep(0.5)
    return found


def told(production: Production, *about: str) -> list[str]:
    """The subjects of the alerts that speak of all of that."""
    alerts = production.box.aws.alerts()
    return [a["Subject"] for a in alerts if all(word in a["Subject"] + a["Message"] for word in about)]


def process_of(production: Production, run: str) -> int:
    return int(production.api(f"/flow_runs/{run}")["infrastructure_pid"].rpartition(":")[2])


def state(production: Production, run: str) -> str:
    return str(production.api(f"/flow_runs/{run}")["state"]["type"])


@pytest.mark.parametrize("what", ["killed", "unpublished", "unimportable"])
def test_what_failed_or_crashed_is_told_of_once(failed: tuple[Production, dict[str, str]], what: str) -> None:
    production, runs = failed
    subjects = {
        "killed": "department-sync failed (Crashed)",  # by its own hook, which the worker ran
        "unpublished": "lms-to-s3 failed, and its own alert was not sent",
        "unimportable": "lms-to-s3 crashed",
    }
    assert told(production, runs[what]) == [f"department-members: {subjects[what]}"]
    assert what != "killed" or told(production, runs[what], "(exit code -9)")


@pytest.fixture(scope="module")
def failed(running: Production) -> tuple[Production, dict[str, str]]:
    """Three runs that ended badly, and the time in which a second message of one of them would have come."""
    running.box.lms.add_people(5)
    watch(running, alert_not_sent=20)
    runs = {"killed": killed(running), "unpublished": unpublished(running), "unimportable": unimportable(running)}
    for what in ("unpublished", "unimportable"):
        eventually(partial(told, running, runs[what]), 60)
    time.sleep(25)
    watch(running)
    return running, runs


def killed(production: Production) -> str:
    with held(production) as run:
        os.kill(process_of(production, run), signal.SIGKILL)
        ends(production, run, "CRASHED")
    eventually(lambda: told(production, run), 30)
    return run


def unpublished(production: Production) -> str:
    """Its hook does not know the topic."""
    with temporary_settings({PREFECT_API_URL: production.server.url}):
        topic: Any = AlertTopic.load(BLOCKS)
        topic.model_copy(update={"topic_arn": topic.topic_arn + "-gone"}).save(BLOCKS, overwrite=True)
        try:
            run = production.start("lms-to-s3", bucket="never-made")
            ends(production, run, "FAILED")
        finally:
            topic.save(BLOCKS, overwrite=True)
    return run


def unimportable(production: Production) -> str:
    deployment = production.api("/deployments/name/lms-to-s3/lms-to-s3")["id"]
    production.patch(f"/deployments/{deployment}", {"entrypoint": "flows/gone.py:lms_to_s3"})
    try:
        run = production.start("lms-to-s3")
        ends(production, run, "CRASHED")
    finally:
        production.patch(f"/deployments/{deployment}", {"entrypoint": "flows/lms_to_s3.py:lms_to_s3"})
    return run


def test_workers_told_to_stop_leave_a_run_that_the_watch_ends_and_tells_of(watched: Production) -> None:
    watch(watched, alert_not_sent=10, lifeless=45, workerless=10)
    with held(watched) as run:
        for worker in watched.workers:
            worker.terminate()
        for worker in watched.workers:
            worker.wait(30)
        assert state(watched, run) == "RUNNING"
        ends(watched, run, "CRASHED")
        eventually(lambda: told(watched, run), 40)
        eventually(lambda: told(watched, "has no worker"), 60)
    watched.start_workers()
    time.sleep(30)
    assert told(watched, run) == ["department-members: department-sync crashed"]
    assert told(watched, "has no worker") == ["department-members: work pool department-members has no worker"]


def test_a_run_that_takes_too_long_is_told_of_once_and_left_alone(watched: Production) -> None:
    watch(watched, longest=20)
    with held(watched) as run:
        eventually(lambda: told(watched, run), 60)
        time.sleep(25)
        assert state(watched, run) == "RUNNING"
    ends(watched, run, "COMPLETED")
    [subject] = told(watched, run)
    assert subject.startswith("department-members: department-sync has not ended after 0.0")


def test_a_load_that_did_not_come_is_told_of_once_for_each_silence(watched: Production) -> None:
    watch(watched, silence=45)
    ends(watched, watched.start("department-sync", path=UNWATCHED), "COMPLETED")
    time.sleep(15)
    assert told(watched, "no load") == []
    ends(watched, watched.start("department-sync", path=UNWATCHED), "COMPLETED")
    eventually(lambda: told(watched, "no load"), 90)
    time.sleep(55)
    assert len(told(watched, "no load into public.department_members")) == 1
    ends(watched, watched.start("department-sync", path=UNWATCHED), "COMPLETED")
    eventually(lambda: len(told(watched, "no load")) == 2, 90)
