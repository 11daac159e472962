"""One HTTP exchange with the LMS, with limits on its duration and its body.

What `requests` may take from the environment is decided here: proxies (`HTTPS_PROXY`, `NO_PROXY`) and CA
bundles (`REQUESTS_CA_BUNDLE`) stay; `~/.netrc` is ignored; no cookie is kept.
"""

import functools
import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool

from tasks.extract.retry import Unusable

MAX_BODY = 64 << 20
"""Bytes of one body, decompressed. 1,000 members are about 1 MB."""
PIECE = 1 << 20


class Deadline(io.RawIOBase):
    """A socket's stream whose timeout bounds the whole answer; the socket's own bounds each wait for a byte."""

    def __init__(self, stream: io.RawIOBase, connection: socket.socket) -> None:
        self._stream = stream
        self._connection = connection
        self._timeout_s = connection.gettimeout()
        self._end = time.monotonic() + (self._timeout_s or 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._timeout_s is None:
            return self._stream.readinto(buffer)
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        # the socket's own timeout starts anew with each byte: a server that sends them singly would never be cut off
        self._connection.settimeout(left_s)
        try:
            return self._stream.readinto(buffer)
        finally:
            self._connection.settimeout(self._timeout_s)

    def close(self) -> None:
        self._stream.close()
        super().close()


class TimedResponse(http.client.HTTPResponse):
    """An answer whose status line, headers and body must all arrive within the connection's read timeout."""

    def __init__(self, connection: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(connection, *arguments, **options)
        # Takes http.client's reader off the socket's raw stream, so that each of its reads passes the deadline.
        self.fp: Any = io.BufferedReader(Deadline(self.fp.detach(), connection))

    def _read_status(self) -> tuple[str, int, str]:
        """The status line of the answer itself; http.client takes 103, say, for it, and leaves the rest unread."""
        while True:
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 100 <= line[1] < 200 or line[1] == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return line
            http.client.parse_headers(self.fp)


@functools.cache
def timed(connection_class: type[Any]) -> type[Any]:
    """That class of urllib3's connections (plain, TLS, through a proxy), with a deadline for each answer."""
    # http.client makes each answer of this class
    return type(f"Timed{connection_class.__name__}", (connection_class,), {"response_class": TimedResponse})


class TimedAdapter(HTTPAdapter):
    """An adapter all of whose connections are timed."""

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> HTTPConnectionPool:
        pool: Any = super().get_connection_with_tls_context(*arguments, **options)
        # pools are reused: set the class on each only once
        if "ConnectionCls" not in vars(pool):
            pool.ConnectionCls = timed(pool.ConnectionCls)
        return cast(HTTPConnectionPool, pool)


def http_session(connections: int) -> requests.Session:
    """A session for at most that many concurrent requests, which does not retry and adds nothing to a request."""
    session = requests.Session()
    # pool_block: otherwise urllib3 opens connections beyond pool_maxsize, and throws each away after one request.
    # max_retries: tries are counted in RetryBudget alone.
    adapter = TimedAdapter(pool_maxsize=connections, pool_block=True, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.auth = _as_it_is  # without any, requests would look for a password in ~/.netrc and replace the token
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class BodyReader:
    """Reads bodies of at most MAX_BODY bytes for several threads, which together hold at most twice that.

    Args:
        connections: how many threads read at once. Each may hold its share; one at a time may hold more.
    """

    def __init__(self, connections: int) -> None:
        self._share = MAX_BODY // connections
        self._large = threading.Lock()

    def read(self, pieces: Iterator[bytes], body_slot: ExitStack) -> bytes:
        """The whole body; one beyond its share keeps other large ones waiting until `body_slot` is closed.

        Raises:
            Unusable: it is larger than MAX_BODY.
        """
        body = bytearray()
        for piece in pieces:
            # only for the piece that crosses the share: the lock is taken once per body
            if len(body) <= self._share < len(body) + len(piece):
                body_slot.enter_context(self._large)
            body += piece
            if len(body) > MAX_BODY:
                raise Unusable(f"a body of more than {MAX_BODY >> 20} MB (try a lower LMS_PAGE_SIZE)")
        return bytes(body)
