"""The run's own temporary folder: what lies there is personal data, for this user alone, and goes."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def run_folder() -> Iterator[Path]:
    """A new folder of mode 0700, removed with all in it however the run ends (SIGKILL excepted)."""
    folder = Path(tempfile.mkdtemp(prefix="department-members-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_private(path: Path) -> BinaryIO:
    """Open a new or emptied file of mode 0600 for writing."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def sha256_of(path: Path) -> str:
    """The file's SHA-256, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
