"""One SNS message a failed run, for every error of the tree, whatever else is down."""

import importlib
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.department_sync import department_sync
from flows.lms_to_s3 import lms_to_s3
from flows.s3_to_rds import s3_to_rds
from sandbox import faults
from sandbox.stack import Sandbox
from tasks.alert import message
from tasks.errors import (
    AuthError,
    ConfigError,
    IncompleteSnapshot,
    LmsUnavailable,
    LoadFailed,
    ObjectInvalid,
    PipelineError,
    SchemaMismatch,
    SnapshotShrank,
    TooManyDepartures,
    TooManyRejected,
)

KEY = "department_members/5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11.csv"


def break_password(box: Sandbox) -> None:
    box.lms.password = "another"


def break_lms(box: Sandbox) -> None:
    box.lms.inject(faults.status(503, times=None))


def break_pages(box: Sandbox) -> None:
    box.lms.inject(faults.without("totalItems"))


def empty_department(box: Sandbox) -> None:
    for member_id in list(box.lms.members):
        box.lms.remove(member_id)


def break_key(box: Sandbox) -> None:
    box.query("ALTER TABLE department_members DROP CONSTRAINT department_members_pkey")


def refuse_all(box: Sandbox) -> None:
    box.query("ALTER TABLE department_members ADD CHECK (is_learner IS NULL) NOT VALID")
    for member_id in list(box.lms.members):
        box.lms.edit(member_id)


def leave(box: Sandbox) -> None:
    for member_id in list(box.lms.members)[:8]:
        box.lms.remove(member_id)


FAILURES: list[tuple[type[PipelineError], Any, dict[str, Any], str]] = [
    (ConfigError, lambda box: None, {"department_id": "nonsense"}, "outside the tasks"),
    (AuthError, break_password, {}, "authenticate"),
    (LmsUnavailable, break_lms, {}, "fetch_pages"),
    (IncompleteSnapshot, break_pages, {}, "fetch_pages"),
    (SnapshotShrank, empty_department, {}, "write_csv"),
    (SchemaMismatch, break_key, {}, "inspect_schema"),
    (TooManyRejected, refuse_all, {}, "upsert_snapshot"),
    (TooManyDepartures, leave, {"on_departure": "delete"}, "upsert_snapshot"),
]


@pytest.mark.parametrize(("error", "cause", "options", "step"), FAILURES, ids=[case[0].__name__ for case in FAILURES])
def test_each_failure_is_told_of_exactly_once_and_changes_nothing(
    in_process: Sandbox, error: type[PipelineError], cause: Any, options: dict[str, Any], step: str
) -> None:
    in_process.lms.add_people(20)
    department_sync(create_table=True, on_departure="delete")
    cause(in_process)
    before = in_process.query("SELECT * FROM department_members ORDER BY lms_user_id")
    with pytest.raises(error):
        department_sync(**options)
    assert in_process.query("SELECT * FROM department_members ORDER BY lms_user_id") == before
    [alert] = in_process.aws.alerts()
    assert alert["Subject"] == f"department-members: department-sync failed ({error.__name__})"
    assert f"Step: {step}" in alert["Message"]
    assert f"Help: docs/runbook/{error.__name__}.md" in alert["Message"]
    assert len(alert["Subject"]) < 100
    assert alert["Subject"].isascii()


def test_a_changed_object_is_told_of_once(in_process: Sandbox) -> None:
    in_process.lms.add_people(3)
    lms_to_s3()
    head = in_process.aws.s3.head_object(Bucket="lms-snapshots", Key=KEY)
    in_process.aws.s3.put_object(Bucket="lms-snapshots", Key=KEY, Body=b"x", Metadata=head["Metadata"])
    with pytest.raises(ObjectInvalid):
        s3_to_rds(create_table=True)
    assert len(in_process.aws.alerts()) == 1


def test_a_database_out_of_reach_is_retried_and_told_of_once(
    in_process: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = importlib.import_module("flows.s3_to_rds")

    monkeypatch.setattr(module, "inspect_schema", module.inspect_schema.with_options(retry_delay_seconds=[0, 0, 0]))
    in_process.lms.add_people(3)
    lms_to_s3()
    monkeypatch.setenv("BUSINESS_TRACKING_PORT", "9")
    with pytest.raises(LoadFailed, match="cannot be reached"):
        s3_to_rds()
    [alert] = in_process.aws.alerts()
    assert "Help: docs/runbook/LoadFailed.md" in alert["Message"]


def test_a_failure_nobody_foresaw_tells_its_kind_and_not_its_words(
    in_process: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("Ada Lovelace")

    monkeypatch.setattr("tasks.extract.fetch.sweep_pages", boom)
    with pytest.raises(ZeroDivisionError):
        lms_to_s3()
    [alert] = in_process.aws.alerts()
    assert "ZeroDivisionError" in alert["Message"]
    assert "Lovelace" not in alert["Message"]
    assert "Help: docs/runbook/Unexpected.md" in alert["Message"]


def test_a_topic_that_is_down_hides_no_error(
    in_process: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_password(in_process)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:9")
    with pytest.raises(AuthError):
        lms_to_s3()
    assert "the alert could not be published" in caplog.text


def test_a_missing_topic_is_logged(
    in_process: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_password(in_process)
    monkeypatch.delenv("SNS_TOPIC_ARN")
    with pytest.raises(AuthError):
        lms_to_s3()
    assert "no alert topic is set" in caplog.text
    assert in_process.aws.alerts() == []


def test_a_flow_inside_a_flow_leaves_the_alert_to_the_outer_one(in_process: Sandbox) -> None:
    from prefect import flow

    from tasks.alert import alert_of_failure

    runner: Any = ThreadPoolTaskRunner()

    @flow(on_failure=[alert_of_failure], task_runner=runner)
    def outer() -> None:
        lms_to_s3()

    break_password(in_process)
    with pytest.raises(AuthError):
        outer()
    [alert] = in_process.aws.alerts()
    assert "outer failed" in alert["Subject"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("Flow run process exited with non-zero status code -9.", "ended from outside (exit code -9) before"),
        ("Ada Lovelace interrupted it", "ended from outside before"),
        (None, "ended from outside before"),
    ],
)
def test_a_crash_tells_the_exit_code_and_no_word_of_the_states_message(told: str | None, expected: str) -> None:
    run = FlowRun(flow_id=uuid4(), name="a run")
    subject, text = message(lms_to_s3, run, Crashed(message=told))
    assert subject == "department-members: lms-to-s3 failed (Crashed)"
    assert expected in text
    assert "Step: unknown" in text
    assert "Lovelace" not in text
