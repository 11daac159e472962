"""A home for Prefect with its database made already: its migrations take ten seconds each time."""

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory


def put_database(file: Path) -> None:
    """Put a new, empty database of Prefect's there unless there is one; where that cannot be, Prefect makes its own."""
    with suppress(OSError, subprocess.SubprocessError):
        if not file.exists():
            shutil.copyfile(template(), file)


def template() -> Path:
    """The database of which copies are made, one for each installation of Prefect; whoever comes first makes it."""
    made = Path(sys.prefix) / f"prefect-{version('prefect')}.db"
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with TemporaryDirectory(dir=sys.prefix) as home:
                subprocess.run(
                    [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
                    env={**os.environ, "PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
                # in one step, so that nobody copies half a database
                os.replace(Path(home) / "prefect.db", made)
    return made
