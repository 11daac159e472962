"""The Prefect server that a script starts for itself: early, for it alone, and gone with it."""

import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.prefect_home import put_database
from tasks import local_server
from tasks.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
INHERITED = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
SCRIPT = """
import sys
from tasks.local_server import is_shared, prefect_api, start_early, _own
start_early()
early = bool(_own)
with prefect_api():
    from prefect.settings import PREFECT_API_URL
    print(early, is_shared(), PREFECT_API_URL.value(), flush=True)
    sys.stdin.read()
"""


def script(folder: Path, code: str = SCRIPT, **variables: str) -> "subprocess.Popen[str]":
    """A script in that folder, whose Prefect home is below it."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    put_database(home / "prefect.db")
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**INHERITED, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home), **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def servers(folder: Path) -> list[int]:
    """The server processes whose working directory that is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(folder) and b"prefect_process" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def gone(folder: Path) -> bool:
    end = time.monotonic() + 20
    while servers(folder) and time.monotonic() < end:
        time.sleep(0.1)
    return not servers(folder)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_with_its_script_however_that_ends(tmp_path: Path, end: int) -> None:
    with script(tmp_path) as running:
        assert running.stdout is not None
        early, is_shared, url = running.stdout.readline().split()
        assert (early, is_shared, url.startswith("http://127.0.0.1:")) == ("True", "False", True)
        assert len(servers(tmp_path)) == 1
        running.send_signal(end)
    assert gone(tmp_path)


@pytest.mark.slow
def test_a_script_that_is_killed_while_its_server_starts_leaves_none(tmp_path: Path) -> None:
    code = "from tasks.local_server import start_early; start_early(); print('started', flush=True); input()"
    with script(tmp_path, code) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "started\n"
        assert len(servers(tmp_path)) == 1
        running.kill()
    assert gone(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text", "early"),
    [
        (".env", "PREFECT_API_URL=http://127.0.0.1:9/api\n", "False"),
        ("home/profiles.toml", 'active = "far"\n[profiles.far]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n', "False"),
        ("prefect.toml", '[api]\nurl = "http://127.0.0.1:9/api"\n', "False"),
        ("prefect.toml", 'api.url = "http://127.0.0.1:9/api"\n', "True"),  # not foreseen, and put right
    ],
)
def test_a_server_that_the_settings_name_is_used_alone(tmp_path: Path, file: str, text: str, early: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / file).write_text(text)
    with script(tmp_path) as running:
        assert running.stdout is not None
        assert running.stdout.readline().split() == [early, "True", "http://127.0.0.1:9/api"]
        assert gone(tmp_path)
        running.communicate()


@pytest.mark.slow
def test_a_server_that_cannot_start_is_an_error_that_says_what_to_check(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with sqlite3.connect(home / "prefect.db") as database:  # of a later version of Prefect
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        database.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
    with script(tmp_path) as running:
        _, said = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "ConfigError: Prefect could not start a server for this script." in said
    assert gone(tmp_path)


def test_help_and_a_home_without_room_start_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", "/dev/null/home")
    done = subprocess.run(
        [sys.executable, ROOT / "flows/lms_to_s3.py", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, "--department-id" in done.stdout) == (0, True), done.stderr
    with pytest.raises(ConfigError, match=r"cannot write to Prefect's home /dev/null/home \(ENOTDIR\)"):
        local_server.start_early()


@pytest.mark.slow
def test_settings_for_other_servers_do_not_keep_it_from_serving(tmp_path: Path) -> None:
    variables = {
        "PREFECT_API_URL": "",
        "PREFECT_SERVER_API_BASE_PATH": "/x/api",
        "PREFECT_SERVER_API_AUTH_STRING": "admin:word",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    code = """
from tasks.local_server import is_shared, prefect_api, start_early
start_early()
with prefect_api():
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        print(is_shared(), client.read_flow_runs(limit=1))
"""
    with script(tmp_path, code, **variables) as running:
        out, said = running.communicate(timeout=90)
    assert out.split() == ["False", "[]"], said[-2000:]
    assert gone(tmp_path)


@pytest.mark.slow
def test_scripts_that_start_at_once_in_a_new_home_all_have_a_server(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    code = "from tasks.local_server import prefect_api\nwith prefect_api(): print('served')"
    command = [sys.executable, "-c", code]
    env = {**INHERITED, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path / "home")}
    started = [subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [running.communicate(timeout=120)[0] for running in started] == ["served\n"] * 3


@pytest.mark.slow
def test_a_profile_that_allows_no_server_is_named(tmp_path: Path) -> None:
    with script(tmp_path, PREFECT_SERVER_EPHEMERAL_ENABLED="false") as running:
        _, said = running.communicate(timeout=60)
    assert "ConfigError: PREFECT_API_URL is not set, and Prefect's profile" in said


@pytest.mark.slow
def test_a_script_whose_standard_files_are_closed_runs(tmp_path: Path) -> None:
    command = shlex.join([sys.executable, str(ROOT / "flows/lms_to_s3.py")]) + " <&- >&- 2>said"
    (tmp_path / "home").mkdir()
    put_database(tmp_path / "home" / "prefect.db")
    env = {**INHERITED, "PREFECT_HOME": str(tmp_path / "home")}
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, timeout=90, check=False).returncode == 1
    said = (tmp_path / "said").read_text()
    assert "lms-to-s3 failed. ConfigError: fix these settings:" in said
    assert "Traceback" not in said
    assert "Error logging to API" not in said
