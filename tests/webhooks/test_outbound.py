"""What the service does to the world, where the world is not there."""

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_CUSTOM_HEADERS,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from tests.support.webhooks import Amazon as Standin
from webhooks.outbound import LONGEST_ANSWER, AmazonClient, PrefectEvents, Refused, trusted_context


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
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
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


async def from_amazon(url: str) -> bytes:
    amazon = AmazonClient()
    async with amazon.opened():
        return await amazon.fetch(url)


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
        asyncio.run(from_amazon("http://127.0.0.1:9/certificate.pem"))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LONGEST_ANSWER + 1), "more than 64 KB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "no complete response"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n", "HTTPStatusError"),
        (b"HTTP/1.1 500 No\r\n\r\n", "HTTPStatusError"),
    ],
    ids=["long", "slow", "elsewhere", "broken"],
)
def test_what_amazon_answers_is_bounded(monkeypatch: pytest.MonkeyPatch, answer: bytes, says: str) -> None:
    monkeypatch.setattr("webhooks.outbound.LONGEST_FETCH_S", 0.5)

    kept = []  # streams that nobody holds close their connection, in later versions of Python

    async def fetch() -> bytes:
        async def answering(*streams: Any) -> None:
            kept.append(streams)
            _, writer = streams
            writer.write(answer)
            await writer.drain()
            if b"Content-Length" not in answer:
                writer.close()

        server = await asyncio.start_server(answering, "127.0.0.1", 0)
        async with server:
            try:
                return await from_amazon(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.pem")
            finally:
                for _, writer in kept:
                    writer.close()

    with pytest.raises(OSError, match=says):
        asyncio.run(fetch())


class Answering(BaseHTTPRequestHandler):
    """A Prefect that answers each post as it is told to."""

    def do_POST(self) -> None:
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, headers, body = self.server.says(events)  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """No news."""


def post_to(says: Any, events: list[dict[str, Any]]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.says = says  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        settings = {PREFECT_API_URL: url, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False, PREFECT_CLIENT_MAX_RETRIES: 0}
        try:
            with temporary_settings(settings):
                asyncio.run(emit(events))
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {"Content-Type": "text/html"}, b"<html>sign in</html>"),
        (302, {"Location": "/login"}, b""),
        (307, {"Location": "https://elsewhere.example/api/events"}, b""),
        (201, {}, b"{}"),
        (404, {}, b"no such path"),
        (405, {}, b""),
        (409, {}, b""),
    ],
)
def test_only_prefects_own_answer_means_that_it_has_the_event(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(httpx.HTTPError):
        post_to(lambda events: (status, headers, body), [{"n": 1}])


@pytest.mark.parametrize("headers", [{"Retry-After": "25"}, {"Prefect-Maintenance": "true"}])
def test_no_answer_of_prefects_makes_aws_wait(monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]) -> None:
    monkeypatch.setattr("webhooks.outbound.LONGEST_POST_S", 0.5)
    began = time.monotonic()
    with pytest.raises(httpx.HTTPError):
        post_to(lambda events: (503, headers, b""), [{"n": 1}])
    assert time.monotonic() - began < 5


def test_an_event_that_prefect_never_takes_loses_no_other() -> None:
    taken: list[int] = []

    def says(events: list[dict[str, int]]) -> tuple[int, dict[str, str], bytes]:
        if any(event["n"] == 7 for event in events):
            return 422, {}, b"not this one"
        taken.extend(event["n"] for event in events)
        return 204, {}, b""

    with pytest.raises(Refused) as refused:
        post_to(says, [{"n": n} for n in range(20)])
    assert taken == [n for n in range(20) if n != 7]
    assert refused.value.refused == [({"n": 7}, 422, "not this one")]


def test_a_server_that_wants_tokens_since_its_restart_gets_them() -> None:
    asked: list[str | None] = []

    class Restarted(Answering):
        """It answers the token, and refuses who brings none."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"client": "x", "token": "t", "expiration": "2999-01-01T00:00:00Z"}')

        def do_POST(self) -> None:
            asked.append(self.headers.get("Prefect-Csrf-Token"))
            self.server.says = lambda _: (204, {}, b"") if asked[-1] else (403, {}, b"Missing CSRF token")  # type: ignore[attr-defined]
            super().do_POST()

    async def twice() -> None:
        prefect = PrefectEvents()
        async with prefect.opened():
            assert prefect._client is not None
            cast(Any, prefect._client._client).enable_csrf_support = False  # what it learnt of the server before
            with pytest.raises(httpx.HTTPStatusError):
                await prefect.emit([{"n": 1}])
            await prefect.emit([{"n": 1}])

    with ThreadingHTTPServer(("127.0.0.1", 0), Restarted) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
            asyncio.run(twice())
        server.shutdown()
    assert asked == [None, "t"]


def test_a_ca_bundle_of_the_usual_names_is_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(Standin().pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    usual = httpx.create_ssl_context().cert_store_stats()["x509"]
    assert trusted_context().cert_store_stats()["x509"] == usual + 1
