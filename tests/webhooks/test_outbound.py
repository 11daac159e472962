"""What the service does to the world, where the world is not there."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_CUSTOM_HEADERS,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from webhooks.outbound import LONGEST_ANSWER, PrefectEvents, fetch_from_amazon


def test_a_prefect_that_does_not_answer_is_an_http_error() -> None:
    settings = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(settings), pytest.raises(httpx.HTTPError):
        asyncio.run(emit([{}]))


@pytest.mark.parametrize("path", ["/api", "/api/", "/behind/a/proxy/api/"])
def test_prefects_own_settings_are_heeded(path: str) -> None:
    asked: list[bytes] = []

    async def one() -> None:
        async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answering, "127.0.0.1", 0)
        settings = {
            PREFECT_API_URL: f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}",
            PREFECT_CLIENT_CUSTOM_HEADERS: {"X-Ours": "yes"},
            PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
        }
        with temporary_settings(settings):
            async with server:
                await emit([{"event": "x"}])

    asyncio.run(one())
    assert asked[0].startswith(f"POST {path.rstrip('/')}/events HTTP/1.1".encode())
    assert b"x-ours: yes" in asked[0].lower()


async def emit(events: list[dict[str, Any]]) -> None:
    prefect = PrefectEvents()
    async with prefect.opened():
        await prefect.emit(events)


def test_many_events_go_in_posts_of_bounded_size_each_of_them_once() -> None:
    posts: list[list[dict[str, int]]] = []

    class Prefect(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Prefect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}):
            asyncio.run(emit([{"n": n} for n in range(450)]))
        server.shutdown()
    assert [len(post) for post in posts] == [200, 200, 50]
    assert [event["n"] for post in posts for event in post] == list(range(450))


def test_an_amazon_that_does_not_answer_is_an_os_error() -> None:
    with pytest.raises(OSError, match="ConnectError"):
        asyncio.run(fetch_from_amazon("http://127.0.0.1:9/certificate.pem"))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LONGEST_ANSWER + 1), "more than 64 KB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "no whole answer"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n", "HTTPStatusError"),
        (b"HTTP/1.1 500 No\r\n\r\n", "HTTPStatusError"),
    ],
    ids=["long", "slow", "elsewhere", "broken"],
)
def test_what_amazon_answers_is_bounded(monkeypatch: pytest.MonkeyPatch, answer: bytes, says: str) -> None:
    monkeypatch.setattr("webhooks.outbound.LONGEST_FETCH_S", 0.5)

    async def fetch() -> bytes:
        async def answering(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            await writer.drain()
            if b"Content-Length" not in answer:
                writer.close()

        server = await asyncio.start_server(answering, "127.0.0.1", 0)
        async with server:
            return await fetch_from_amazon(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.pem")

    with pytest.raises(OSError, match=says):
        asyncio.run(fetch())
