"""The run's temporary directory: it holds personal data, so it has mode 0700 and is deleted after the run."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tasks.errors import ConfigError
from tasks.library_errors import disk_error, full_disk

PREFIX = "department-members-run-"


@contextmanager
def run_folder() -> Iterator[Path]:
    """A new directory of mode 0700, deleted with its contents however the run ends.

    After a SIGKILL the next run deletes it: each run holds a lock on its own directory, which ends with its process.

    Raises:
        ConfigError: the temporary directory is not writable or is full.
    """
    try:
        remove_dead_runs(Path(tempfile.gettempdir()))
        folder, lock = new_folder()
    except OSError as error:
        raise disk_problem(error) from None
    try:
        yield folder
    except OSError as error:
        if disk_error(error) is None:
            raise
        raise disk_problem(error).with_traceback(error.__traceback__) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def page_folder(folder: Path, name: str) -> Iterator[Path]:
    """A new directory in the run's own, deleted when its contents have been read."""
    made = folder / name
    made.mkdir(mode=0o700)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def new_folder() -> tuple[Path, int]:
    """A locked directory and its lock. It has its name only once it is locked, so it never looks like a dead run's."""
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return made.rename(made.with_name(made.name[1:])), lock


def remove_dead_runs(parent: Path) -> None:
    """Delete this user's run directories that no living process has locked."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            # a link of that name, which anybody may put into /tmp, must not lead the deletion elsewhere
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # another user's, a link, or just deleted
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # its run lives
            pass
        finally:
            os.close(lock)


def disk_problem(error: OSError) -> ConfigError:
    """The error of ours for a temporary directory that cannot be used."""
    if name := disk_error(error):
        return ConfigError(full_disk(name))
    return ConfigError(
        f"no temporary directory can be used ({type(error).__name__}). Check TMPDIR and its permissions."
    )


def create_private(path: Path) -> BinaryIO:
    """Open a new or emptied file of mode 0600 for writing."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def sha256_of(path: Path) -> str:
    """The file's SHA-256, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
