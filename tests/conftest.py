"""Servers for the tests: real ones, on 127.0.0.1, started once and gone at the end.

TEST_DATABASE_URL=postgresql://user:password@host:port/database points the database tests at another
server; without it they run on both PostgreSQL 16 and 18.
"""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

# A shell's background job ignores Ctrl-C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# One folder for whatever tests leave, the folders of killed runs among it. Root's PostgreSQL runs as another account,
# which must get through it.
FOLDER = tempfile.mkdtemp(prefix="tests-")
os.chmod(FOLDER, 0o711)  # noqa: S103
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
os.environ["TMPDIR"] = tempfile.tempdir = FOLDER
# Before Prefect is imported: nothing of a developer's own settings has a say here, and their Prefect is not touched.
OWN = (
    "AWS_",
    "BUSINESS_",
    "COURSE_",
    "DEPARTMENT_",
    "LMS_",
    "PG",
    "PREFECT_",
    "REST_API_",
    "S3_",
    "SNS_",
    "WATCH_",
    "WEBHOOK_",
)
for name in [name for name in os.environ if name.startswith(OWN)]:
    del os.environ[name]
os.environ["PREFECT_HOME"] = f"{FOLDER}/prefect"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import psycopg2
import pytest
from hypothesis import settings

from sandbox.aws import SimulatedAws
from sandbox.lms import SimulatedLms
from sandbox.postgres import Postgres, rows_of
from tests.support.prefect_api import own_prefect_api

settings.register_profile("tests", deadline=None)  # time is no test: machines differ
settings.load_profile("tests")
VERSIONS = [18, 16]
pytest_plugins = ["tests.support.whole_stack"]
LONGEST = ("test_soak", "test_account_lock")  # which wait a lot: at the end, they would do so alone
STARTS_PREFECT = {"prefect_api", "server", "running"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What uses a Prefect server is slow, since that takes seconds to start; so is what an older PostgreSQL repeats.

    The longest tests come first.
    """
    items.sort(key=lambda item: next((n for n, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST)))
    for item in items:
        repeats = hasattr(item, "callspec") and item.callspec.params.get("any_database") in VERSIONS[1:]
        if repeats or STARTS_PREFECT.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def elsewhere() -> None:
    """Work where no .env of a developer lies."""
    os.chdir(FOLDER)


class Database:
    """A database for tests: its environment, and its rows."""

    def __init__(self, environment: dict[str, str], server: Postgres | None) -> None:
        self.variables = environment
        self.server = server

    def environment(self, schema: str = "public") -> dict[str, str]:
        return {**self.variables, "BUSINESS_TRACKING_SCHEMA": schema}

    def connect(self) -> Any:
        names = ("HOST", "PORT", "DBNAME", "USER", "PASSWORD", "SSLMODE")
        given: dict[str, Any] = {name.lower(): self.variables[f"BUSINESS_TRACKING_{name}"] for name in names}
        return psycopg2.connect(**given)

    def query(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        return rows_of(self.connect(), statement, parameters)


def from_url(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    values = (parts.hostname, parts.port or 5432, parts.path.lstrip("/"), parts.username, parts.password, "prefer")
    names = ("HOST", "PORT", "DBNAME", "USER", "PASSWORD", "SSLMODE")
    return {f"BUSINESS_TRACKING_{name}": unquote(str(value)) for name, value in zip(names, values, strict=True)}


@pytest.fixture(scope="session", params=["url"] if "TEST_DATABASE_URL" in os.environ else VERSIONS)
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Each server version in turn: for what depends on it."""
    if request.param == "url":
        yield Database(from_url(os.environ["TEST_DATABASE_URL"]), None)
    else:
        with Postgres(request.param) as server:
            yield Database(server.environment(), server)


@pytest.fixture(scope="session")
def one_database() -> Iterator[Database]:
    """The newest server version alone: for what does not depend on it."""
    if "TEST_DATABASE_URL" in os.environ:
        yield Database(from_url(os.environ["TEST_DATABASE_URL"]), None)
    else:
        with Postgres(VERSIONS[0]) as server:
            yield Database(server.environment(), server)


@pytest.fixture(scope="session")
def aws_server() -> Iterator[SimulatedAws]:
    with SimulatedAws() as server:
        yield server


@pytest.fixture
def aws(aws_server: SimulatedAws, monkeypatch: pytest.MonkeyPatch) -> SimulatedAws:
    """S3 and SNS, empty, named by the environment."""
    aws_server.reset()
    for name, value in aws_server.environment().items():
        monkeypatch.setenv(name, value)
    return aws_server


def wait_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the tries of a request to the LMS; and not for the account lock, which a busy server frees seconds later.

    Prefect answers 503 while its SQLite database is being written, and its client then waits for two seconds.
    """
    monkeypatch.setattr("tasks.extract.account_lock.is_shared", lambda: False)
    for module in ("session", "retry"):
        monkeypatch.setattr(f"tasks.extract.{module}.jitter", lambda low, high: min(high, 0.02))


@pytest.fixture
def lms(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedLms]:
    """An LMS without members, named by the environment."""
    with SimulatedLms() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        wait_briefly(monkeypatch)
        yield server


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """A Prefect API of the tests' own."""
    with own_prefect_api():
        yield
