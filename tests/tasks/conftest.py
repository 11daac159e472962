"""The loader, on an empty table of its own for each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.rejects import reject_file
from tasks.s3 import S3Object, Snapshot
from tests.conftest import Database
from tests.tasks.loader import Loader


@pytest.fixture
def loader(one_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loader]:
    for name, value in one_database.environment().items():
        monkeypatch.setenv(name, value)
    made = Loader(one_database, tmp_path)

    def keep(source: Snapshot, rejected: Any, blocks: Any) -> S3Object:
        header = source.path.read_text(encoding="utf-8").splitlines()[0].replace('"', "").split(",")
        made.rejects.append(reject_file(header, rejected))
        return S3Object("bucket", f"{source.object.key}.rejected/run.csv")

    monkeypatch.setattr("tasks.upsert.publish_rejects", keep)
    yield made
