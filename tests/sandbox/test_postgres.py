"""The embedded PostgreSQL runs for root too, wherever the checkout and the temporary folder lie."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import postgres
from sandbox.postgres import Postgres, binaries

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another account")


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that root alone can enter."""
    folder = tmp_path / "a closed folder"
    folder.mkdir(mode=0o700)
    yield folder


def version(server: Postgres) -> int:
    with server:
        connection = server.connect()
        connection.close()
        return int(connection.server_version)


def test_binaries_out_of_the_accounts_reach_are_copied(closed: Path) -> None:
    package = binaries(18).parents[1]
    for folder in (package, package.with_suffix(".libs")):
        shutil.copytree(folder, closed / folder.name, symlinks=True)
    server = Postgres(18, bin_folder=closed / binaries(18).relative_to(package.parent))
    assert version(server) // 10000 == 18
    assert server.bin.is_relative_to(server.folder)
    assert not server.folder.exists()


def test_a_temporary_folder_out_of_the_accounts_reach_is_not_used(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    server = Postgres(18)
    assert version(server) // 10000 == 18
    assert not server.folder.is_relative_to(closed)
    assert list(closed.iterdir()) == []


def test_a_server_that_finds_no_place_says_what_to_do(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    monkeypatch.setattr(postgres, "FALLBACK_FOLDERS", ())
    with pytest.raises(RuntimeError, match=f"found none of {closed}. Set TMPDIR to"):
        version(Postgres(18))
    assert list(closed.iterdir()) == []
