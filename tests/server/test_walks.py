"""Scheduled, event-triggered, repeated and rerun: each run walked to its end on a real server."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox import faults
from sandbox.production import Production

pytestmark = pytest.mark.timeout(300)


def members(production: Production) -> int:
    return int(production.box.query("SELECT count(*) FROM department_members")[0][0])


def retry(production: Production, run_id: str) -> dict[str, Any]:
    """The UI's Retry button: the same run once more."""
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
    production.api(f"/flow_runs/{run_id}/set_state", {"state": state, "force": True})
    time.sleep(2)
    return production.wait_for(run_id)


def ends(production: Production, run_id: str, state: str) -> None:
    run = production.wait_for(run_id)
    assert run["state"]["type"] == state, run["state"]["message"]


def test_the_extract_started_in_the_ui_leads_through_s3s_event_to_rows_in_the_table(production: Production) -> None:
    production.box.lms.add_people(30)
    before = len(production.runs("s3-to-rds"))
    ends(production, production.start("lms-to-s3"), "COMPLETED")
    load = production.wait_for_run("s3-to-rds", before + 1)
    assert load["state"]["type"] == "COMPLETED", load["state"]["message"]
    assert load["name"].startswith("s3-to-rds ")
    assert load["parameters"]["bucket"] == "lms-snapshots"
    assert load["parameters"]["key"].startswith("department_members/")
    assert load["parameters"]["version_id"] is None  # moto's notification gives none
    assert members(production) == 30


def test_the_schedule_is_there_and_a_run_of_it_is_walked(production: Production) -> None:
    production.box.lms.add_people(3)
    deployment = production.api("/deployments/name/lms-to-s3/lms-to-s3")
    [schedule] = deployment["schedules"]
    assert (schedule["active"], schedule["schedule"]["cron"]) == (True, "0 2 * * *")
    assert schedule["schedule"]["timezone"] == "Europe/London"
    scheduled = production.api(
        f"/deployments/{deployment['id']}/create_flow_run",
        {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}},
    )
    ends(production, scheduled["id"], "COMPLETED")


def test_a_repeated_event_starts_no_second_run(production: Production) -> None:
    box = production.box
    box.lms.add_people(3)
    before = len(production.runs("s3-to-rds"))
    ends(production, production.start("lms-to-s3"), "COMPLETED")
    production.wait_for_run("s3-to-rds", before + 1)
    [key] = box.aws.objects()
    tag = box.aws.s3.head_object(Bucket="lms-snapshots", Key=key)["ETag"].strip('"')
    record = {
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": "lms-snapshots"},
            "object": {"key": key, "eTag": tag, "sequencer": "0055AED6DCD90281E5"},
        },
    }
    message = {"TopicArn": box.aws.objects_topic_arn, "Message": json.dumps({"Records": [record]})}
    box.aws.sns.publish(**message)
    production.wait_for_run("s3-to-rds", before + 2)
    box.aws.sns.publish(**message)
    time.sleep(6)
    assert len(production.runs("s3-to-rds")) == before + 2


def test_a_load_run_again_skips_what_was_loaded(production: Production) -> None:
    production.box.lms.add_people(5)
    before = len(production.runs("s3-to-rds"))
    ends(production, production.start("lms-to-s3"), "COMPLETED")
    load = production.wait_for_run("s3-to-rds", before + 1)
    ends(production, production.start("s3-to-rds", **load["parameters"]), "COMPLETED")
    assert production.box.query("SELECT count(*) FROM lms_loads") == [(1,)]
    assert members(production) == 5


def test_retry_of_a_run_that_failed_in_the_fetch(production: Production) -> None:
    production.box.lms.add_people(5)
    production.box.lms.inject(faults.status(422, times=1))
    run = production.start("department-sync")
    ends(production, run, "FAILED")
    assert retry(production, run)["state"]["type"] == "COMPLETED"
    assert members(production) == 5


def test_retry_of_a_run_that_failed_in_the_write(production: Production) -> None:
    box = production.box
    box.lms.add_people(5)
    run = production.start("department-sync", bucket="no-such-bucket")
    ends(production, run, "FAILED")
    box.aws.s3.create_bucket(Bucket="no-such-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert retry(production, run)["state"]["type"] == "COMPLETED"
    assert members(production) == 5


def test_retry_of_a_run_that_failed_in_the_upsert_on_another_worker(production: Production) -> None:
    box = production.box
    box.lms.add_people(20)
    box.query("ALTER TABLE department_members ADD CONSTRAINT none CHECK (first_name IS NULL) NOT VALID")
    run = production.start("department-sync", max_rejected="0")
    ends(production, run, "FAILED")
    assert members(production) == 0
    box.query("ALTER TABLE department_members DROP CONSTRAINT none")
    production.wait_until_idle()  # a worker that stops takes its runs with it
    stopped = production.workers[0]  # the other worker must do
    stopped.terminate()
    stopped.wait(30)
    assert retry(production, run)["state"]["type"] == "COMPLETED"
    assert members(production) == 20
    production.start_workers()


def test_run_again_after_all_workers_were_restarted(production: Production) -> None:
    production.box.lms.add_people(5)
    for worker in production.workers:
        worker.terminate()
    for worker in production.workers:
        worker.wait(30)
    run = production.start("department-sync")
    time.sleep(3)
    assert production.api(f"/flow_runs/{run}")["state"]["type"] == "SCHEDULED"
    production.start_workers()
    ends(production, run, "COMPLETED")
    assert members(production) == 5


def test_no_secret_stands_in_what_the_server_shows(production: Production) -> None:
    shown = repr([production.runs(name) for name in ("lms-to-s3", "s3-to-rds", "department-sync")])
    environment = production.box.environment()
    names = ("LMS_PASSWORD", "LMS_PRIVATE_KEY", "BUSINESS_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY")
    assert [name for name in names if environment[name] in shown] == []
