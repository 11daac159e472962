"""A failed run is alerted whatever it was started by and whatever is down: Prefect, its home, the terminal."""

import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prefect import flow

from flows.lms_to_s3 import lms_to_s3
from sandbox import faults
from sandbox.prefect_server import PrefectServer
from sandbox.stack import ROOT, Sandbox
from tasks.errors import AuthError

pytestmark = pytest.mark.slow
CLOSED = "http://127.0.0.1:9/api"


@pytest.mark.parametrize("named", [(), ("--blocks", "department-members")])
@pytest.mark.parametrize("script", ["flows/lms_to_s3.py", "flows/s3_to_rds.py", "flows/department_sync.py"])
def test_a_prefect_that_is_down_is_alerted_once_and_said(clean: Sandbox, script: str, named: tuple[str, ...]) -> None:
    done = clean.run(script, *named, env={"PREFECT_API_URL": CLOSED, "PREFECT_CLIENT_MAX_RETRIES": "0"})
    assert done.returncode == 1
    assert "cannot be reached. Is its server running? Check PREFECT_API_URL" in done.stderr
    [alert] = clean.aws.alerts()
    assert alert["Subject"].endswith("failed (ConfigError)")
    assert "PREFECT_API_URL" in alert["Message"]
    assert "Help: docs/runbook/ConfigError.md" in alert["Message"]


def test_a_prefect_that_answers_401_is_alerted_once_and_said(clean: Sandbox, tmp_path: Path) -> None:
    secured = {
        **clean.environment(),
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_API_AUTH_STRING": "admin:secret-word",
    }
    with PrefectServer(secured) as server:
        done = clean.run("flows/lms_to_s3.py", env={"PREFECT_API_URL": server.url})
    assert (done.returncode, "answered 401. Check PREFECT_API_URL, and PREFECT_API_KEY" in done.stderr) == (1, True), (
        done.stderr[-800:]
    )
    [alert] = clean.aws.alerts()
    assert alert["Subject"].endswith("failed (AuthError)")


@pytest.fixture
def full_disk(tmp_path: Path) -> Any:
    """A directory on a disk of 64 KB."""
    place = tmp_path / "full"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    with (place / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_prefect_home_on_a_full_disk_is_alerted_once(clean: Sandbox, full_disk: Path) -> None:
    env = {"PREFECT_HOME": str(full_disk), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "20"}
    done = clean.run("flows/lms_to_s3.py", env=env)
    assert done.returncode == 1
    assert len(clean.aws.alerts()) == 1


def test_a_temporary_directory_that_fills_up_is_a_wrong_setting(
    clean: Sandbox, server: PrefectServer, full_disk: Path
) -> None:
    (full_disk / "filler").unlink()  # 64 KB are enough to begin with, and not for 500 members
    clean.lms.add_people(500)
    done = clean.run("flows/lms_to_s3.py", env={"PREFECT_API_URL": server.url, "TMPDIR": str(full_disk)})
    assert done.returncode == 1
    [alert] = clean.aws.alerts()
    assert "failed (ConfigError)" in alert["Subject"], alert
    assert "TMPDIR" in alert["Message"]


ENV_FILES: dict[str, bytes] = {
    "UTF-16": "LMS_PAGE_SIZE=10\n".encode("utf-16"),
    "Latin-1": "LMS_USERNAME=ümlaut\n".encode("latin-1"),
    "null bytes": b"LMS_USERNAME=a\x00b\n",
    "a directory": b"",
}


@pytest.mark.parametrize("kind", ENV_FILES)
@pytest.mark.parametrize("how", [("flows/department_sync.py",), ("-m", "flows.department_sync")])
def test_an_env_file_that_cannot_be_read_is_said_and_alerted(
    clean: Sandbox, tmp_path: Path, kind: str, how: tuple[str, ...]
) -> None:
    command = clean.command(*how)
    if how[0] != "-m":
        command["args"][1] = str(ROOT / how[0])
    command["env"]["PYTHONPATH"] = str(ROOT)
    command["cwd"] = tmp_path
    (tmp_path / ".env").mkdir() if kind == "a directory" else (tmp_path / ".env").write_bytes(ENV_FILES[kind])
    done = subprocess.run(**command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert f"{tmp_path}/.env cannot be read" in done.stderr
    [alert] = clean.aws.alerts()
    assert "Save it as UTF-8" in alert["Message"]


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP as a login shell leaves it; under `nohup`, it would be ignored by the tests' own processes too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("sent", [(signal.SIGHUP,), (signal.SIGHUP, signal.SIGHUP), (signal.SIGTERM, signal.SIGHUP)])
def test_a_closed_terminal_leaves_nothing_behind_and_alerts_once(
    clean: Sandbox, server: PrefectServer, tmp_path: Path, sent: tuple[signal.Signals, ...]
) -> None:
    clean.lms.add_people(50)
    clean.lms.inject(faults.delay(2, times=None))
    env = {"TMPDIR": str(tmp_path), "LMS_PAGE_SIZE": "10", "PREFECT_API_URL": server.url}
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        **clean.command("flows/lms_to_s3.py", env=env), stdin=other_end, stdout=other_end, stderr=other_end,
        start_new_session=True,
    )  # fmt: skip
    os.close(other_end)
    for _ in range(600):
        if len(clean.lms.requests) >= 2:
            break
        time.sleep(0.1)
    assert list(tmp_path.glob("department-members-*"))
    os.close(terminal)
    for one in sent:
        process.send_signal(one)
        time.sleep(0.3)
    assert process.wait(60) == 1
    assert list(tmp_path.glob("*department-members-*")) == []
    assert len(clean.aws.alerts()) == 1
    limits = requests.post(f"{server.url}/v2/concurrency_limits/filter", json={}, timeout=30).json()
    assert [limit["active_slots"] for limit in limits] == [0], "the account lock is free at once"


def test_a_run_told_to_stop_before_it_began_is_alerted(clean: Sandbox) -> None:
    process = subprocess.Popen(
        **clean.command("flows/lms_to_s3.py", env={"PREFECT_API_URL": CLOSED, "PREFECT_CLIENT_MAX_RETRIES": "50"}),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(15)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 1, log
    assert len(clean.aws.alerts()) == 1


def test_a_run_whose_hook_could_not_publish_names_itself_in_a_second_try(clean: Sandbox, server: PrefectServer) -> None:
    clean.lms.password = "another"
    env = {"PREFECT_API_URL": server.url, "AWS_ENDPOINT_URL_SNS": "http://127.0.0.1:9"}
    done = clean.run("flows/lms_to_s3.py", env=env)
    assert (done.returncode, done.stderr.count("the alert could not be published")) == (1, 2), done.stderr[-2000:]


@pytest.mark.parametrize("outer_alerts", [True, False])
def test_a_flow_called_by_another_is_alerted_once(in_process: Sandbox, outer_alerts: bool) -> None:
    from tasks.alert import alert_of_failure

    @flow(name="outer", on_failure=[alert_of_failure] if outer_alerts else [])
    def outer() -> None:
        lms_to_s3()

    in_process.lms.password = "another"
    with pytest.raises(AuthError):
        outer()
    [alert] = in_process.aws.alerts()
    assert alert["Subject"].startswith("department-members: " + ("outer" if outer_alerts else "lms-to-s3"))


def test_a_run_that_another_flow_deployed_alerts_itself(in_process: Sandbox) -> None:
    """`run_deployment` gives the new run a parent task run, and another process executes it."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import Running

    from tasks.extract.fetch import authenticate

    with get_client(sync_client=True) as client:
        parent = client.create_flow_run(lms_to_s3, state=Running())
        dummy = client.create_task_run(
            task=authenticate, flow_run_id=parent.id, dynamic_key="run_deployment", state=Running()
        )  # fmt: skip
        run = client.create_flow_run(lms_to_s3, parameters={"department_id": "nonsense"}, parent_task_run_id=dummy.id)
    with pytest.raises(Exception, match="DEPARTMENT_ID"):
        run_flow(lms_to_s3, flow_run=run, parameters={"department_id": "nonsense"})
    [alert] = in_process.aws.alerts()
    assert str(run.id) in alert["Message"]
