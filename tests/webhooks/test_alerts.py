"""The watch's calls over real HTTP: who may call, what is published, what a message says."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests
import uvicorn
from prefect.settings import PREFECT_UI_URL, temporary_settings

from blocks.environment import alert_topic_from, read_environment
from sandbox.aws import SimulatedAws
from sandbox.postgres import free_port
from sandbox.stack import ROOT
from tasks.errors import ConfigError
from webhooks.alerts import ALERT, TEXTS, message
from webhooks.objects import SnapshotFilter
from webhooks.service import LARGEST_BODY, Settings, WatchSettings, create_app
from webhooks.settings import read_settings

KEY = "a key of some length"
RUN_ID = str(uuid4())
SINCE = "2026-03-01T02:00:00+00:00"
RUN = {"since": SINCE, "flow": "lms-to-s3", "run": "lms-to-s3 2026", "run_id": f"prefect.flow-run.{RUN_ID}"}
CALLS: dict[str, dict[str, Any]] = {
    "Crashed": {**RUN, "alert": "untold", "state": "Crashed"},
    "AlertNotSent": {**RUN, "alert": "untold", "state": "Failed"},
    "Stuck": {**RUN, "alert": "stuck", "hours": 3.0},
    "NoLoad": {"alert": "silent", "since": SINCE, "table": "public.m", "department": "d", "hours": 26},
    "NoWorker": {"alert": "workerless", "since": SINCE, "pool": "pool-1"},
}


async def unused(_: Any) -> Any:
    raise AssertionError


def served(settings: Settings) -> Iterator[str]:
    port = free_port()
    app = create_app(settings, fetch=unused, emit=unused)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/watch"
    server.should_exit = True


@pytest.fixture
def url(aws: SimulatedAws) -> Iterator[str]:
    topic = alert_topic_from(read_environment(), [])
    assert topic is not None
    yield from served(Settings(SnapshotFilter("b", ("",)), frozenset(), None, WatchSettings(KEY, topic)))


def call(url: str, content: Any, key: str = KEY) -> requests.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return requests.post(url, data=body, headers={"x-api-key": key}, timeout=20)


@pytest.mark.parametrize("page", CALLS)
def test_each_call_becomes_one_message(url: str, aws: SimulatedAws, page: str) -> None:
    assert call(url, CALLS[page]).json() == {"alerts": 1}
    [alert] = aws.alerts()
    assert alert["Subject"].startswith("department-members: ")
    assert f"Help: docs/runbook/{page}.md" in alert["Message"]
    assert "Since: 2026-03-01 02:00:00 UTC" in alert["Message"]


def test_every_text_has_a_call_that_leads_to_it() -> None:
    assert set(CALLS) == set(TEXTS)


def test_a_message_about_a_run_says_which_and_where_to_look() -> None:
    with temporary_settings({PREFECT_UI_URL: "https://prefect.example.org"}):
        subject, text = message(ALERT.validate_python(CALLS["Stuck"]))
    assert subject == "department-members: lms-to-s3 has not ended after 3 hours"
    assert f"Run:  lms-to-s3 2026 ({RUN_ID})" in text
    assert f"Look: https://prefect.example.org/runs/flow-run/{RUN_ID}" in text


@pytest.mark.parametrize(("name", "shown"), [("Sales\nand more", "Sales\\nand more (d)"), ("", "d")])
def test_a_missing_load_is_of_a_department_with_name_and_id(name: str, shown: str) -> None:
    _, text = message(ALERT.validate_python({**CALLS["NoLoad"], "name": name}))
    assert f"Department: {shown}\n" in text
    assert f"Expected a load of department {shown} into public.m every 26 hours" in text
    assert message(ALERT.validate_python(CALLS["NoLoad"]))[1].count("department d into") == 1


def test_a_subject_is_one_short_line_of_ascii() -> None:
    subject, _ = message(ALERT.validate_python({**CALLS["NoLoad"], "table": "Geschäft.\n" + "m" * 200}))
    assert subject.isascii()
    assert "\n" not in subject
    assert len(subject) < 100


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x"])
def test_without_the_key_nothing_is_published(url: str, aws: SimulatedAws, key: str) -> None:
    assert call(url, CALLS["Stuck"], key).status_code == 401
    assert aws.alerts() == []


def test_without_a_watch_nobody_is_heard() -> None:
    for address in served(Settings(SnapshotFilter("b", ("",)), frozenset(), None)):
        assert call(address, CALLS["Stuck"]).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"alert": "other"}',
        b'{"alert": "stuck"}',
        b"[" * 100_000,
        *(
            json.dumps({**CALLS["NoWorker"], "since": since}).encode()
            for since in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+00:01", 1e300)
        ),
        json.dumps({**CALLS["NoWorker"], "pool": "\ud800"}).encode(),
    ],
)
def test_a_malformed_call_is_refused(url: str, aws: SimulatedAws, body: bytes) -> None:
    assert call(url, body).status_code == 400
    assert aws.alerts() == []


def test_a_call_too_long_is_refused(url: str) -> None:
    assert call(url, b" " * (LARGEST_BODY + 1)).status_code == 413


def test_a_topic_that_is_down_is_answered_with_503(aws: SimulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:9")
    topic = alert_topic_from(read_environment(), [])
    assert topic is not None
    for address in served(Settings(SnapshotFilter("b", ("",)), frozenset(), None, WatchSettings(KEY, topic))):
        assert call(address, CALLS["Stuck"]).status_code == 503


ENVIRONMENT = {
    "S3_BUCKET_NAME": "b", "S3_DEPARTMENT_MEMBERS_PATH": "m/{department_id}.csv", "WATCH_API_KEY": KEY,
    "SNS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alerts",
}  # fmt: skip


def test_the_settings_of_the_watch_come_from_the_environment() -> None:
    found = read_settings(ENVIRONMENT).watch
    assert found is not None
    assert (found.key, found.topic.topic_arn) == (KEY, ENVIRONMENT["SNS_TOPIC_ARN"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"WATCH_API_KEY": "short"}, "WATCH_API_KEY must be at least 16 ASCII characters"),
        ({"WATCH_API_KEY": "é" * 20}, "WATCH_API_KEY must be at least 16 ASCII characters"),
        ({"SNS_TOPIC_ARN": None}, "SNS_TOPIC_ARN is not set, but WATCH_API_KEY is"),
        ({"SNS_TOPIC_ARN": "nonsense"}, "SNS_TOPIC_ARN is not a topic ARN"),
        ({"WATCH_API_KEY": None}, "set WEBHOOK_TOPIC_ARNS, WEBHOOK_API_KEY or WATCH_API_KEY"),
    ],
)
def test_what_is_wrong_with_the_watchs_settings_is_named(change: dict[str, str | None], problem: str) -> None:
    environment = {name: value for name, value in {**ENVIRONMENT, **change}.items() if value is not None}
    with pytest.raises(ConfigError, match=problem):
        read_settings(environment)


def test_each_alert_has_a_page_in_the_runbook() -> None:
    assert [page for page in TEXTS if not (ROOT / "docs" / "runbook" / f"{page}.md").is_file()] == []
