"""How a script ends: at once, but with everything done and written that Python's own end would have done and written."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from commands.flow_script import LAZY_IMPORTS

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import atexit, logging.handlers, sys, threading, time
from commands import startup
startup.begin("some_script.py")
atexit.register(lambda: print("done at exit"))
buffered = logging.handlers.MemoryHandler(100, target=logging.StreamHandler(sys.stdout))
logging.getLogger("late").addHandler(buffered)
logging.getLogger("late").error("logged")
threading.Thread(target=lambda: (time.sleep(0.5), print("a thread's last"))).start()
sys.stdout.write("not flushed")
{end}
"""


def end_of(end: str, tmp_path: Path) -> tuple[int, str, str]:
    """The exit code of a script that ends so, and what it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{end}", end), "--help"],  # so that no Prefect server is started
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("raise SystemExit(startup.exits_with(0))", 0),
        ("raise SystemExit(startup.exits_with(1))", 1),
        ("raise SystemExit(2)", 2),
        ("startup.exits_with(0); raise RuntimeError", 1),
        ("raise SystemExit(startup.exits_with(1) | startup.exits_with(0))", 1),
        ("", 0),
    ],
)
def test_nothing_is_lost_at_the_end(tmp_path: Path, end: str, code: int) -> None:
    found, written, _ = end_of(end, tmp_path)
    assert found == code
    for what in ("not flushed", "done at exit", "logged", "a thread's last"):
        assert what in written


def test_what_freeing_objects_would_do_is_left_out(tmp_path: Path) -> None:
    """The half second that is saved."""
    setup = "class Freed:\n    def __del__(self): print('freed', flush=True)\nkept = Freed()\n"
    assert "freed" in end_of(setup, tmp_path)[1]
    assert "freed" not in end_of(f"{setup}raise SystemExit(startup.exits_with(0))", tmp_path)[1]


def test_what_runs_import_later_exists_under_these_names() -> None:
    assert [name for name in LAZY_IMPORTS if find_spec(name) is None] == []
