"""The Prefect server that a script starts for itself: early, for it alone, and gone with it."""

import os
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
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_server_ends_with_its_script_however_that_ends(tmp_path: Path, end: int | None) -> None:
    with script(tmp_path) as running:
        assert running.stdout is not None
        early, is_shared, url = running.stdout.readline().split()
        assert (early, is_shared, url.startswith("http://127.0.0.1:")) == ("True", "False", True)
        assert len(servers(tmp_path)) == 1
        if end is None:
            running.communicate()
        else:
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
