"""A Prefect API of the tests' own."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from sandbox.prefect_home import put_database


@contextmanager
def own_prefect_api() -> Iterator[None]:
    """Prefect's own harness, whose database is a copy of one that is made already."""

    def folder_with_database() -> str:
        folder = tempfile.mkdtemp()
        put_database(Path(folder) / "prefect-test.db")
        return folder

    with (
        patch("prefect.testing.utilities.mkdtemp", folder_with_database),
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),  # each run ends up to a second later for them
    ):
        yield
