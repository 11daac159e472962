"""The events by which the watch, and anyone's automations, know of a load and of an alert."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL

from flows.department_sync import department_sync
from flows.lms_to_s3 import lms_to_s3
from flows.s3_to_rds import s3_to_rds
from sandbox.people import DEPARTMENT
from sandbox.prefect_server import PrefectServer
from sandbox.stack import Sandbox
from tasks.errors import AuthError
from tasks.events import FAILURE_TOLD, LOADED, scope_label
from tasks.streams import MEMBERS

LABEL = scope_label(MEMBERS)


def events(name: str, about: str, count: int = 1, url: str | None = None) -> list[dict[str, Any]]:
    """The events of that name that contain `about`, as soon as there are `count`: the server stores them within seconds."""
    for _ in range(60):
        found = [event for event in stored(name, url or PREFECT_API_URL.value()) if about in repr(event)]
        if len(found) >= count:
            return found
        time.sleep(0.2)
    return found


def stored(name: str, url: str) -> Iterator[dict[str, Any]]:
    """Every event of that name, page after page."""
    page = requests.post(f"{url}/events/filter", json={"filter": {"event": {"name": [name]}}}, timeout=20).json()
    yield from page["events"]
    while page["next_page"]:
        page = requests.get(page["next_page"], timeout=20).json()
        yield from page["events"]


def events_once_all_are_stored(name: str, about: str) -> list[dict[str, Any]]:
    """Those stored before a last event that this process emits: it emits in order."""
    last = str(uuid4())
    emit_event("tests.last", {"prefect.resource.id": last})
    assert events("tests.last", last)
    return events(name, about, 0)


def test_a_committed_load_is_announced_with_its_table_department_and_counts(in_process: Sandbox) -> None:
    in_process.lms.add_people(7)
    department_sync(create_table=True, table_name="announced")
    [event] = events(LOADED, "public.announced")
    assert event["resource"] == {
        "prefect.resource.id": "department-members.table.public.announced",
        "prefect.resource.name": "public.announced",
        LABEL: DEPARTMENT,
        f"{LABEL}-name": "Sandbox",
    }
    assert (event["payload"]["read"], event["payload"]["inserted"]) == (7, 7)
    assert event["payload"]["object"].startswith("s3://lms-snapshots/department_members/")
    in_process.query("DROP TABLE announced")


def test_neither_a_dry_run_nor_a_skipped_load_is_announced(in_process: Sandbox) -> None:
    in_process.lms.add_people(7)
    lms_to_s3()
    s3_to_rds(create_table=True, table_name="once", dry_run=True)
    s3_to_rds(create_table=True, table_name="once")
    assert s3_to_rds(table_name="once")["outcome"].startswith("skipped")
    assert len(events_once_all_are_stored(LOADED, "public.once")) == 1
    in_process.query("DROP TABLE once")


def test_a_file_without_metadata_is_announced_without_a_department(in_process: Sandbox) -> None:
    in_process.aws.s3.put_object(Bucket="lms-snapshots", Key="by-hand.csv", Body=b"lms_user_id,first_name\na,b\n")
    s3_to_rds(key="by-hand.csv", create_table=True, table_name="by_hand")
    [event] = events(LOADED, "public.by_hand")
    assert LABEL not in event["resource"]
    in_process.query("DROP TABLE by_hand")


def test_a_published_alert_is_an_event_of_its_run_and_one_that_did_not_go_out_is_none(
    in_process: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process.lms.password = "another"
    with pytest.raises(AuthError):
        lms_to_s3()
    [alert] = in_process.aws.alerts()
    run_id = alert["Message"].split("(")[1][:36]
    assert len(events(FAILURE_TOLD, run_id)) == 1
    before = events(FAILURE_TOLD, "", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:9")
    with pytest.raises(AuthError):
        lms_to_s3()
    assert len(events_once_all_are_stored(FAILURE_TOLD, "")) == len(before)


@pytest.mark.slow
def test_a_script_beside_a_server_is_watched_as_a_deployments_run_is(clean: Sandbox, server: PrefectServer) -> None:
    done = clean.run("flows/lms_to_s3.py", env={"PREFECT_API_URL": server.url})
    assert done.returncode == 1  # nobody is in the department
    newest = {"limit": 1, "sort": "START_TIME_DESC"}
    [run] = requests.post(f"{server.url}/flow_runs/filter", json=newest, timeout=20).json()
    assert run["tags"] == ["department-members"]
    [event] = events(FAILURE_TOLD, run["id"], 1, server.url)
    assert {"prefect.resource.id": "prefect.tag.department-members", "prefect.resource.role": "tag"} in event["related"]
