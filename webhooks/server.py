"""How the service is served: its connections bounded, Prefect's client open for as long as it runs."""

from contextlib import suppress

import uvicorn
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from webhooks.connections import BoundedProtocol
from webhooks.outbound import PrefectEvents
from webhooks.service import Settings, create_app
from webhooks.sns import Fetch


def make_server(settings: Settings, *, fetch: Fetch, host: str = "127.0.0.1", port: int) -> uvicorn.Server:
    """The service on a port, not yet running."""
    prefect = PrefectEvents()
    app = create_app(settings, fetch=fetch, emit=prefect.emit, lifespan=prefect.opened)
    config = uvicorn.Config(app, host=host, port=port, http=BoundedProtocol, log_level="warning", server_header=False)
    return uvicorn.Server(config)


def run(server: uvicorn.Server) -> int:
    """Serve until told to stop; the exit code, which is 3, as uvicorn's own, where it could not start."""
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), suppress(KeyboardInterrupt):
        server.run()  # without Prefect's own repetitions: AWS waits 5 s, and delivers again by itself
    return 0 if server.started else 3
