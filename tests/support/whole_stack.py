"""All servers at once, for whole flows."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.courses import Courses
from sandbox.people import DEPARTMENT, department
from sandbox.prefect_server import PrefectServer
from sandbox.stack import Sandbox
from tests.conftest import wait_briefly


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """An LMS, a bucket, a topic, a database, a Prefect home."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def server(box: Sandbox) -> Iterator[PrefectServer]:
    """A Prefect server on the sandbox's Prefect home, beside which a script starts in a third of the time."""
    with PrefectServer(box.environment()) as running:
        yield running


@pytest.fixture
def clean(box: Sandbox) -> Sandbox:
    """The sandbox as on its first day."""
    for member_id in list(box.lms.members):
        box.lms.remove(member_id)
    box.lms.faults.clear()
    box.lms.departments = {DEPARTMENT: department("Sandbox")}
    box.lms.denied.clear()
    box.lms.reads_below = False
    box.lms.requests.clear()
    box.lms.password = box.environment()["LMS_PASSWORD"]
    box.aws.reset()
    box.lms.courses = Courses()
    box.query("DROP TABLE IF EXISTS department_members, course_enrollments, lms_loads CASCADE")
    box.query("DROP TABLE IF EXISTS department_members_fingerprints, course_enrollments_fingerprints")
    return box


@pytest.fixture
def in_process(clean: Sandbox, prefect_api: None, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The clean sandbox, its environment in this process, beside the tests' Prefect API."""
    for name, value in clean.environment().items():
        if not name.startswith("PREFECT_"):
            monkeypatch.setenv(name, value)
    wait_briefly(monkeypatch)
    return clean


def artifacts(key: str) -> list[Any]:
    """The artifacts of that key, newest first."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
    from prefect.client.schemas.sorting import ArtifactSort

    with get_client(sync_client=True) as client:
        return client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])), sort=ArtifactSort.CREATED_DESC
        )
