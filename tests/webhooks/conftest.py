"""The service, running."""

from collections.abc import Iterator

import pytest

from tests.support.webhooks import Service


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.server.should_exit = True
