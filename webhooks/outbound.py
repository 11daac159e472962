"""What the service does to the world: it reads from Amazon, and hands events to Prefect."""

from typing import Any

import httpx
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL


async def fetch_from_amazon(url: str) -> bytes:
    """The body at an address of Amazon's: a certificate, the answer to a confirmation.

    Raises:
        OSError: there is none to be had.
    """
    try:
        async with httpx.AsyncClient(timeout=5, follow_redirects=False) as client:
            answer = await client.get(url)
            answer.raise_for_status()
            return answer.content
    except httpx.HTTPError as error:
        raise OSError(type(error).__name__) from None


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
