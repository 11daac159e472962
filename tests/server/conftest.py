"""One production for all walks: a real server on PostgreSQL, two workers, the webhook service, prefect.yaml deployed."""

from collections.abc import Iterator

import pytest

from sandbox.production import Production


@pytest.fixture(scope="session")
def running() -> Iterator[Production]:
    with Production(workers=2) as production:
        yield production


@pytest.fixture
def production(running: Production) -> Production:
    """The running production with an empty LMS, bucket and table."""
    running.wait_until_idle()
    box = running.box
    for member_id in list(box.lms.members):
        box.lms.remove(member_id)
    box.lms.faults.clear()
    box.lms.password = box.environment()["LMS_PASSWORD"]
    box.aws.reset()
    box.query("TRUNCATE department_members")
    box.query("DROP TABLE IF EXISTS lms_loads")
    return running
