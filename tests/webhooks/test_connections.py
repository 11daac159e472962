"""Requests that begin and do not end: closed in time, and never in the way of others."""

import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests
import uvicorn

from sandbox.postgres import free_port
from webhooks import connections
from webhooks.connections import BoundedProtocol
from webhooks.objects import Watched
from webhooks.service import Settings, create_app

KEY = "key-of-the-test-1234"
HEAD = f"POST /eventbridge HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nContent-Length: 400000\r\n\r\n".encode()
HALVES = {
    "nothing": b"",
    "half a line": b"POST /event",
    "half the headers": b"POST /sns HTTP/1.1\r\nHost: x\r\n",
    "half a body": HEAD + b"x" * 200_000,
    "half a chunked body": b"POST /sns HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
}


async def unused(_: object) -> bytes:
    raise AssertionError


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))  # both ends lie in this process
    monkeypatch.setattr(connections, "LONGEST_REQUEST_S", 1.0)
    app = create_app(Settings(Watched("b", ("",)), frozenset(), KEY), fetch=unused, emit=unused)  # type: ignore[arg-type]
    number = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=number, log_level="critical", http=BoundedProtocol)
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.02)
    yield number
    server.should_exit = True
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def opened(port: int, data: bytes) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.sendall(data)
    return made


def is_closed(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
def test_what_is_not_whole_in_time_is_closed_and_no_earlier(port: int, half: bytes) -> None:
    connection = opened(port, half)
    assert not is_closed(connection, 0.5)
    assert is_closed(connection, 3)


def test_one_byte_now_and_then_gains_no_time(port: int) -> None:
    connection, began = opened(port, b""), time.monotonic()
    with pytest.raises(OSError):
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.1)
    assert time.monotonic() - began < 3


def test_a_connection_between_two_requests_is_not_taken_for_a_half_one(port: int) -> None:
    with requests.Session() as session:
        for _ in range(4):
            assert session.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
            time.sleep(0.4)
        [pool] = [session.get_adapter("http://").poolmanager.pools]  # type: ignore[attr-defined]
        assert pool[next(iter(pool.keys()))].num_connections == 1


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
def test_any_number_of_half_requests_holds_up_nobody(port: int, half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LONGEST_REQUEST_S", 600.0)
    held = [opened(port, half[:1000]) for _ in range(1100)]
    began = time.monotonic()
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
    assert time.monotonic() - began < 2
    assert len(BoundedProtocol.incomplete) <= connections.MOST_INCOMPLETE
    assert is_closed(held[0], 1)
    for connection in held:
        connection.close()
