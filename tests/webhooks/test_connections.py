"""Requests that begin and do not end: closed in time, and never in the way of others."""

import asyncio
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
import uvicorn

from sandbox.postgres import free_port
from webhooks import connections
from webhooks.connections import ONE_REQUEST, BoundedProtocol
from webhooks.objects import SnapshotFilter
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
    app = create_app(Settings(SnapshotFilter("b", ("",)), frozenset(), KEY), fetch=unused, emit=unused)  # type: ignore[arg-type]
    number = free_port()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=number, log_level="critical", http=BoundedProtocol, headers=ONE_REQUEST
    )
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


@pytest.mark.parametrize("second", [b"", *HALVES.values()], ids=["alone", *HALVES.keys()])
def test_a_connection_ends_with_its_answer_whatever_comes_behind_the_request(port: int, second: bytes) -> None:
    connection = opened(port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + second)
    answer = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200") and answer.count(b"HTTP/1.1") == 1
    assert not BoundedProtocol.open


def test_an_answer_that_takes_too_long_is_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LONGEST_ANSWER_S", 0.5)

    async def hang(*_: object) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr("webhooks.service.bounded_body", hang)
    began = time.monotonic()
    assert is_closed(opened(port, HEAD + b"x" * 400_000), 10)
    assert time.monotonic() - began < 5


def test_many_whole_requests_at_once_are_all_answered(port: int) -> None:
    body = b'{"source": "x"}'
    head = HEAD.replace(b"400000", str(len(body)).encode())
    waiting = [opened(port, b"") for _ in range(400)]
    for connection in waiting:
        connection.sendall(head + body)
    assert {connection.recv(12) for connection in waiting} == {b"HTTP/1.1 200"}


def test_the_bytes_of_all_requests_are_bounded(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LONGEST_REQUEST_S", 600.0)
    monkeypatch.setattr(connections, "MOST_HELD", 4 << 20)
    held = [opened(port, HALVES["half a body"]) for _ in range(60)]
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
    assert BoundedProtocol.held <= 4 << 20
    assert is_closed(held[0], 1)


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
def test_any_number_of_half_requests_holds_up_nobody(port: int, half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LONGEST_REQUEST_S", 600.0)
    held = [opened(port, half[:1000]) for _ in range(1100)]
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
    assert len(BoundedProtocol.open) <= connections.MOST_OPEN
    assert is_closed(held[0], 1)
    for connection in held:
        connection.close()
