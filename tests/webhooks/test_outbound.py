"""What the service does to the world, where the world is not there."""

import asyncio

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from webhooks.outbound import LONGEST_ANSWER, emit_to_prefect, fetch_from_amazon


def test_a_prefect_that_does_not_answer_is_an_http_error() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(httpx.HTTPError):
        asyncio.run(emit_to_prefect([]))


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
