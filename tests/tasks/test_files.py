"""What a killed run leaves behind is deleted by the next run, and only that."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.stack import ROOT
from tasks.errors import ConfigError
from tasks.files import run_folder

RUN = """
import sys
from tasks.files import run_folder
with run_folder() as folder:
    (folder / "page-00000.arrow").write_bytes(b"Ada Lovelace")
    (folder / "inner").mkdir()
    print(folder, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path


def started(temporary: Path) -> tuple["subprocess.Popen[str]", Path]:
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [sys.executable, "-c", RUN], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    return run, Path(run.stdout.readline().strip())


def test_the_next_run_deletes_a_killed_runs_files_and_no_living_runs(temporary: Path) -> None:
    (dead, of_dead), (living, of_living) = started(temporary), started(temporary)
    dead.send_signal(signal.SIGKILL)
    dead.wait(10)
    assert (of_dead / "page-00000.arrow").exists()
    with run_folder() as own:
        assert not of_dead.exists()
        assert sorted(temporary.iterdir()) == sorted([own, of_living])
        assert (of_living / "page-00000.arrow").read_bytes() == b"Ada Lovelace"
    living.communicate("end\n", timeout=20)
    assert list(temporary.iterdir()) == []


def test_a_stopped_run_lives(temporary: Path) -> None:
    run, folder = started(temporary)
    run.send_signal(signal.SIGSTOP)
    with run_folder():
        assert folder.exists()
    run.send_signal(signal.SIGCONT)
    run.communicate("end\n", timeout=20)


@pytest.mark.parametrize("name", ["department-members-old", "department-members", "tmpx", ".department-members-run-x"])
def test_what_is_no_run_of_this_version_is_left_alone(temporary: Path, name: str) -> None:
    (temporary / name).mkdir()
    (temporary / name / "kept").touch()
    with run_folder():
        assert (temporary / name / "kept").exists()


def test_a_link_is_not_followed(temporary: Path) -> None:
    target = temporary / "precious"
    target.mkdir()
    (target / "kept").touch()
    (temporary / "department-members-run-link").symlink_to(target)
    with run_folder():
        assert (target / "kept").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a directory away")
def test_another_users_directory_is_left_alone(temporary: Path) -> None:
    other = temporary / "department-members-run-other"
    other.mkdir()
    os.chown(other, 12345, 12345)
    with run_folder():
        assert other.exists()


def test_a_folder_is_this_users_alone() -> None:
    with run_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_temporary_directory_that_is_gone_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/no/such/directory")
    with pytest.raises(ConfigError, match="TMPDIR"), run_folder():
        pass


def test_a_disk_that_fills_up_is_a_wrong_setting(temporary: Path) -> None:
    room = pytest.raises(ConfigError, match="the temporary directory is full or read-only")
    with room, run_folder(), open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")
