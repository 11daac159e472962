"""What the service does to the world, where the world is not there."""

import asyncio
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
        asyncio.run(emit([]))


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
