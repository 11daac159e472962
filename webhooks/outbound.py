"""The service's outgoing calls: it fetches from Amazon and sends events to Prefect."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient, get_client

LONGEST_ANSWER = 64 * 1024
LONGEST_FETCH_S = 10.0
LONGEST_POST_S = 4.0
"""EventBridge waits 5 s for an answer; it delivers again what got none."""
# before batches, a message with 4,000 records took 12 s and held up others
MOST_IN_A_POST = 200
AS_IT_IS = {"Accept-Encoding": "identity"}  # 64 KB of gzip may hold 64 MB
CA_BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NEVER = {400, 413, 422}
"""The statuses with which Prefect permanently refuses an event; any other status is worth a retry."""


class Refused(Exception):
    """Prefect permanently refused some of the events; it accepted the others."""

    def __init__(self, refused: list[tuple[dict[str, Any], int, str]]) -> None:
        super().__init__(refused)
        self.refused = refused
        """Each with the status and the text that Prefect answered."""


def trusted_context() -> ssl.SSLContext:
    """The usual certificate authorities, and those of the bundle that AWS's or requests' variables name.

    Raises:
        OSError: the bundle cannot be read.
    """
    context = httpx.create_ssl_context()
    bundle = next((os.environ[name] for name in CA_BUNDLES if os.environ.get(name)), None)
    if bundle:
        context.load_verify_locations(cafile=bundle)
    return context


class AmazonClient:
    """Fetches from Amazon with one client that stays open: building one is slow and blocks all other requests."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """The client is open in it."""
        # no redirects: the address was checked to be Amazon's, where it leads to was not
        limits = {"timeout": 5, "follow_redirects": False, "headers": AS_IT_IS}
        async with httpx.AsyncClient(verify=trusted_context(), **limits) as self._client:  # type: ignore[arg-type]
            yield

    async def fetch(self, url: str) -> bytes:
        """The body at an address of Amazon's: a certificate, the answer to a confirmation.

        Raises:
            OSError: it could not be fetched within 10 s and 64 KB.
        """
        if self._client is None:
            raise RuntimeError("expected fetch to be called within opened()")
        found = bytearray()
        try:
            async with asyncio.timeout(LONGEST_FETCH_S), self._client.stream("GET", url) as answer:
                answer.raise_for_status()
                async for part in answer.aiter_raw():
                    found += part
                    if len(found) > LONGEST_ANSWER:
                        raise OSError("a response of more than 64 KB")
        except httpx.HTTPError as error:
            raise OSError(type(error).__name__) from None
        except TimeoutError:
            raise OSError("no complete response within 10 s") from None
        return bytes(found)


class PrefectEvents:
    """Sends events to Prefect through one Prefect client, which knows all of Prefect's settings and stays open.

    `emit_event` is not used, since it returns before the event has been accepted.
    """

    def __init__(self) -> None:
        self._client: PrefectClient | None = None
        self._stack = AsyncExitStack()
        self._renewing = asyncio.Lock()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """The client is open in it."""
        try:
            await self._renew(None)
            yield
        finally:
            await self._stack.aclose()

    async def emit(self, events: list[dict[str, Any]]) -> None:
        """Post the events; Prefect starts what waits for them.

        Raises:
            httpx.HTTPError: Prefect does not answer in time, or does not take them now. It may have some of them, and
                knows those by their ids when they come again.
            Refused: it will never take some of them.
        """
        refused: list[tuple[dict[str, Any], int, str]] = []
        try:
            async with asyncio.timeout(LONGEST_POST_S):
                for start in range(0, len(events), MOST_IN_A_POST):  # nothing else is answered while one is written
                    batch = events[start : start + MOST_IN_A_POST]
                    status, text = await self._post(batch)
                    if status in NEVER and len(batch) > 1:  # one is enough for Prefect to refuse them all
                        for event in batch:
                            status, text = await self._post([event])
                            refused += [(event, status, text)] if status in NEVER else []
                    elif status in NEVER:
                        refused.append((batch[0], status, text))
        except TimeoutError:
            raise httpx.ReadTimeout(f"no answer within {LONGEST_POST_S:.0f} s") from None
        if refused:
            raise Refused(refused)

    async def _post(self, events: list[dict[str, Any]]) -> tuple[int, str]:
        """Post some events; returns the status and text of a final answer: accepted or permanently refused.

        Raises:
            httpx.HTTPStatusError: any other answer: of a proxy's sign-in page, say, which may well have status 200.
        """
        client = self._client
        if client is None:
            raise RuntimeError("expected emit to be called within opened()")
        try:
            answer = await client.request("POST", "/events", json=events)
        except httpx.HTTPStatusError as error:
            answer = error.response
        if answer.status_code == 403 and "CSRF" in answer.text:
            await self._renew(client)  # the server was restarted with another setting than this client learnt
        if answer.status_code not in {204, *NEVER}:
            raise httpx.HTTPStatusError("not taken", request=answer.request, response=answer)
        return answer.status_code, answer.text

    async def _renew(self, stale: PrefectClient | None) -> None:
        """Use a new client, unless another call has made one meanwhile. Building one takes 130 ms, so in a thread."""
        async with self._renewing:
            if self._client is not stale:
                return
            # else a proxy's redirect would end at its sign-in page, whose status is 200
            settings = {"timeout": LONGEST_POST_S, "follow_redirects": False}
            client = await asyncio.to_thread(get_client, httpx_settings=settings)
            self._client = await self._stack.enter_async_context(client)
