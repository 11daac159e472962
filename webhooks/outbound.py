"""What the service does to the world: it reads from Amazon, and hands events to Prefect."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient, get_client

LONGEST_ANSWER = 64 * 1024
LONGEST_FETCH_S = 10.0
PREFECT_TIMEOUT_S = 10.0
MOST_IN_A_POST = 200
AS_IT_IS = {"Accept-Encoding": "identity"}  # 64 KB of gzip may hold 64 MB


async def fetch_from_amazon(url: str) -> bytes:
    """The body at an address of Amazon's: a certificate, the answer to a confirmation.

    Raises:
        OSError: there is none to be had, in 10 s and 64 KB.
    """
    found = bytearray()
    try:
        async with (
            asyncio.timeout(LONGEST_FETCH_S),
            httpx.AsyncClient(timeout=5, follow_redirects=False, headers=AS_IT_IS) as client,
            client.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            async for part in answer.aiter_raw():
                found += part
                if len(found) > LONGEST_ANSWER:
                    raise OSError("an answer of more than 64 KB")
    except httpx.HTTPError as error:
        raise OSError(type(error).__name__) from None
    except TimeoutError:
        raise OSError("no whole answer within 10 s") from None
    return bytes(found)


class PrefectEvents:
    """Hands events to Prefect, by one client of Prefect's own, which knows all of its settings and stays open.

    Not by `emit_event`, which returns before anyone has the event.
    """

    def __init__(self) -> None:
        self._client: PrefectClient | None = None

    @asynccontextmanager
    async def opened(self, _app: object = None) -> AsyncIterator[None]:
        """The service's lifespan: the client is open in it. Building one takes 130 ms, in which nothing is answered."""
        async with get_client(httpx_settings={"timeout": PREFECT_TIMEOUT_S}) as self._client:
            yield

    async def emit(self, events: list[dict[str, Any]]) -> None:
        """Post the events; Prefect starts what waits for them.

        Raises:
            httpx.HTTPError: Prefect does not answer, or does not take them. It may have some of them, and knows those
                by their ids when they come again.
        """
        if self._client is None:
            raise RuntimeError("expected emit to be called within opened()")
        for start in range(0, len(events), MOST_IN_A_POST):  # nothing else is answered while one is written as JSON
            await self._client.request("POST", "/events", json=events[start : start + MOST_IN_A_POST])
