"""A loader on an empty table of its own for each test, and a server that tests may stop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.postgres import Postgres
from tasks.load.rejects import reject_file
from tasks.s3 import S3Object, Snapshot
from tests.conftest import Database
from tests.support.loader import Loader
from tests.support.two_snapshots import COLUMNS, write_two


@pytest.fixture
def loader(one_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loader]:
    for name, value in one_database.environment().items():
        monkeypatch.setenv(name, value)
    made = Loader(one_database, tmp_path)

    def keep(source: Snapshot, rejected: Any, blocks: Any) -> S3Object:
        header = source.path.read_text(encoding="utf-8").splitlines()[0].replace('"', "").split(",")
        made.rejects.append(reject_file(header, rejected))
        return S3Object("bucket", f"{source.object.key}.rejected/run.csv")

    monkeypatch.setattr("tasks.load.upsert.publish_rejects", keep)
    yield made


@pytest.fixture(scope="session")
def own_database() -> Iterator[Database]:
    """A server that these tests may stop."""
    with Postgres(18) as server:
        yield Database(server.environment(), server)


@pytest.fixture
def database(own_database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    for name, value in own_database.environment().items():
        monkeypatch.setenv(name, value)
    own_database.query(
        f"DROP TABLE IF EXISTS department_members, lms_loads; CREATE TABLE department_members ({COLUMNS})"
    )
    return own_database


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two snapshots of one department."""
    return write_two(tmp_path_factory.mktemp("two"))
