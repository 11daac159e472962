"""`python -m webhooks` as a process: it says what it takes, has a line for each object, and names what is missing."""

import os
import subprocess
import sys
from pathlib import Path

import requests

from sandbox.postgres import free_port
from sandbox.prefect_server import answers
from sandbox.stack import ROOT

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
    assert "WARNING webhooks refused a call of /eventbridge: no or another key" in text


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "1"], env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "set WEBHOOK_TOPIC_ARNS" in done.stderr
