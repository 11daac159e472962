"""What the service does to the world: it reads from Amazon, and hands events to Prefect."""

import asyncio
from typing import Any

import httpx
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL

LONGEST_ANSWER = 64 * 1024
LONGEST_FETCH_S = 10.0
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


async def emit_to_prefect(events: list[dict[str, Any]]) -> None:
    """Post the events; Prefect starts what waits for them.

    Not by `emit_event`, which returns before anyone has the event.

    Raises:
        httpx.HTTPError: Prefect does not answer, or does not take them.
    """
    key, auth = PREFECT_API_KEY.value(), PREFECT_API_AUTH_STRING.value()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    user, _, password = auth.get_secret_value().partition(":") if auth else ("", "", "")
    async with httpx.AsyncClient(timeout=10, headers=headers, auth=(user, password) if auth else None) as client:
        answer = await client.post(f"{PREFECT_API_URL.value()}/events", json=events)
        answer.raise_for_status()
