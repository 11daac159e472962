"""`python -m webhooks` as a process: it says what it takes, has a line for each object, and names what is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from prefect.settings import PREFECT_API_URL, temporary_settings

from sandbox.postgres import free_port
from sandbox.prefect_server import answers
from sandbox.stack import ROOT
from tasks.errors import ConfigError
from webhooks.settings import check_reach, read_settings

KEY = "a-key-of-some-length"
COMMAND = [sys.executable, "-m", "webhooks", "--port"]


def environment(**values: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PREFECT_HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **values}


def test_its_log_says_what_it_takes_and_what_became_of_each_object(tmp_path: Path) -> None:
    port = free_port()
    known = {"S3_BUCKET_NAME": "b", "S3_DEPARTMENT_MEMBERS_PATH": "m/", "WEBHOOK_API_KEY": KEY}
    env = environment(PREFECT_API_URL="http://127.0.0.1:9/api", **known)
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen([*COMMAND, str(port)], env=env, cwd=tmp_path, stdout=log, stderr=log)
        try:
            assert answers(f"http://127.0.0.1:{port}/health", service, 60)
            detail = {"bucket": {"name": "other"}, "object": {"key": "m/x.csv"}}
            event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
            told = requests.post(
                f"http://127.0.0.1:{port}/eventbridge", json=event, headers={"x-api-key": KEY}, timeout=9
            )
            assert told.json() == {"events": 0}
            assert requests.post(f"http://127.0.0.1:{port}/eventbridge", json=event, timeout=9).status_code == 401
        finally:
            service.terminate()
            service.wait(20)
    text = (tmp_path / "log").read_text()
    assert f"listening on http://127.0.0.1:{port} for /eventbridge\n" in text
    assert "s3://other/m/x.csv: not a snapshot, ignored" in text
    assert "WARNING webhooks /eventbridge: answered 401: expected the API destination's key" in text


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "1"], env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "set WEBHOOK_TOPIC_ARNS" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBHOOK_TOPIC_ARNS", "nonsense"),
        ("WEBHOOK_API_KEY", " " * 16),
        ("WEBHOOK_API_KEY", "a-key-of-some-length "),
        ("WEBHOOK_API_KEY", "key-of-the-watch"),
        ("S3_BUCKET_NAME", "s3://b/"),
        ("WATCH_API_KEY", "short"),
    ],
)
def test_a_setting_that_can_never_do_is_named(name: str, value: str) -> None:
    arn = "arn:aws:sns:eu-west-1:123456789012:alerts"
    right = {
        "S3_BUCKET_NAME": "b-1",
        "S3_DEPARTMENT_MEMBERS_PATH": "m/",
        "WEBHOOK_API_KEY": KEY,
        "WEBHOOK_TOPIC_ARNS": arn,
        "WATCH_API_KEY": "key-of-the-watch",
        "SNS_TOPIC_ARN": arn,
    }
    assert read_settings(right).topics == {arn}
    with pytest.raises(ConfigError) as wrong:
        read_settings({**right, name: value})
    assert [problem for problem in wrong.value.problems if name in problem]


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [("PREFECT_API_URL", "nonsense", "PREFECT_API_URL"), ("AWS_CA_BUNDLE", "/nowhere.pem", "AWS_CA_BUNDLE")],
)
def test_what_can_never_be_reached_is_named(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, says: str
) -> None:
    monkeypatch.setenv(setting, value)
    url = value if setting == "PREFECT_API_URL" else "http://127.0.0.1:4200/api"
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(ConfigError, match=says):
        check_reach()
