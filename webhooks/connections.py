"""Connections, bounded before any key is looked at: in time, in number and in the bytes that they hold."""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LONGEST_REQUEST_S = 30.0
"""AWS sends a request at once; a client that takes longer is only blocking the connection."""
LONGEST_ANSWER_S = 30.0
"""How long it may take to produce an answer and for the client to read it."""
MOST_OPEN = 800
"""Below the 1,024 files that a process may usually have open."""
MOST_HELD = 100 << 20
"""Bytes of requests that are not answered yet, all together."""
ONE_REQUEST = [("connection", "close")]
"""Sent with every answer: one request per connection, so that the connection's limits cover everything."""


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, which has no such bounds.

    A connection is closed if its request is incomplete after 30 s, or its answer unread after another 30 s. If there
    are too many connections or bytes, the oldest incomplete request is closed, since a genuine one takes milliseconds;
    if all are complete, the newest is closed.
    """

    incomplete: ClassVar[dict["BoundedProtocol", None]] = {}
    """Oldest first."""
    open: ClassVar[set["BoundedProtocol"]] = set()
    held: ClassVar[int] = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the request."""
        super().connection_made(transport)
        self.received = 0
        self.open.add(self)
        self.incomplete[self] = None
        self._end_after(LONGEST_REQUEST_S)
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """Read on; the time runs from the connection's first moment to the request's last byte."""
        self.received += len(data)
        BoundedProtocol.held += len(data)
        super().data_received(data)
        # the request is complete, or so malformed that no more of it is read
        if self in self.incomplete and self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            del self.incomplete[self]
            self._end_after(LONGEST_ANSWER_S)
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._forget()
        super().connection_lost(exc)

    def _end_after(self, seconds: float) -> None:
        if (before := getattr(self, "_end", None)) is not None:
            before.cancel()
        loop: Any = asyncio.get_running_loop()
        self._end = loop.call_later(seconds, self.transport.abort)

    def _make_room(self) -> None:
        while len(self.open) > MOST_OPEN or BoundedProtocol.held > MOST_HELD:
            last = next(iter(self.incomplete), self)
            last.transport.abort()
            last._forget()
            if last is self:
                return

    def _forget(self) -> None:
        if self in self.open:
            self.open.remove(self)
            self.incomplete.pop(self, None)
            BoundedProtocol.held -= self.received
            self._end.cancel()
