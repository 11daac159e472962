"""Connections that begin a request and do not end it: bounded in time and number, before any key is looked at."""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LONGEST_REQUEST_S = 30.0
"""AWS sends a request at once; whoever takes longer only holds the connection."""
MOST_INCOMPLETE = 200
"""With bodies of at most 512 KB, 100 MB of memory, and well below the 1,024 files that a process may have open."""


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, which has no such bounds: a request that is incomplete after 30 s is closed.

    Of more than 200 incomplete ones the oldest is closed at once: one that is being sent takes milliseconds.
    """

    incomplete: ClassVar[dict["BoundedProtocol", asyncio.TimerHandle]] = {}
    """Oldest first."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a first request."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Read on; the time runs from the first byte of a request to its last."""
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._forget()
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._forget()
        elif self not in self.incomplete:
            loop: Any = asyncio.get_running_loop()
            self.incomplete[self] = loop.call_later(LONGEST_REQUEST_S, self.transport.abort)
            if len(self.incomplete) > MOST_INCOMPLETE:
                oldest = next(iter(self.incomplete))
                oldest._forget()
                oldest.transport.abort()

    def _forget(self) -> None:
        timer = self.incomplete.pop(self, None)
        if timer is not None:
            timer.cancel()
