"""What the service does to the world, where the world is not there."""

import asyncio

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from webhooks.outbound import emit_to_prefect, fetch_from_amazon


def test_a_prefect_that_does_not_answer_is_an_http_error() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(httpx.HTTPError):
        asyncio.run(emit_to_prefect([]))


def test_an_amazon_that_does_not_answer_is_an_os_error() -> None:
    with pytest.raises(OSError, match="ConnectError"):
        asyncio.run(fetch_from_amazon("http://127.0.0.1:9/certificate.pem"))
