"""How the service is served: its connections bounded, its clients of Prefect and Amazon open for as long as it runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from webhooks.connections import ONE_REQUEST, BoundedProtocol
from webhooks.outbound import AmazonClient, PrefectEvents
from webhooks.service import Settings, create_app
from webhooks.sns import Fetch


def make_server(
    settings: Settings, *, fetch: Fetch | None = None, host: str = "127.0.0.1", port: int
) -> uvicorn.Server:
    """The service on a port, not yet running; `fetch` stands in for Amazon."""
    prefect, amazon = PrefectEvents(), AmazonClient()

    @asynccontextmanager
    async def opened(_app: FastAPI) -> AsyncIterator[None]:
        async with prefect.opened(), amazon.opened():
            yield

    app = create_app(settings, fetch=fetch or amazon.fetch, emit=prefect.emit, lifespan=opened)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        headers=ONE_REQUEST,
        log_level="warning",
        server_header=False,
    )
    return uvicorn.Server(config)


def run(server: uvicorn.Server) -> int:
    """Serve until stopped; returns the exit code, which is 3 (like uvicorn's) if it could not start."""
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), suppress(KeyboardInterrupt):
        server.run()  # without Prefect's own repetitions: AWS waits 5 s, and delivers again by itself
    return 0 if server.started else 3
