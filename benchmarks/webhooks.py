"""The webhook service under load: many posts at the same time, one message of many records, `/health` meanwhile."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

import httpx

from sandbox.prefect_server import PrefectServer
from sandbox.stack import INHERITED
from sandbox.webhook_service import API_KEY, WebhookService

POSTS, AT_ONCE, RECORDS = 200, 60, 4000
TOPIC = "arn:aws:sns:eu-west-2:123456789012:none"
PATIENCE_S = 60
PROBE = """
import sys, threading, time, urllib.request
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
slowest = 0.0
print("asking", flush=True)
while not stop.wait(0.02):
    began = time.perf_counter()
    urllib.request.urlopen(sys.argv[1] + "/health").read()
    slowest = max(slowest, time.perf_counter() - began)
print(slowest)
"""
T = TypeVar("T")


def measure_webhooks() -> list[tuple[str, float, float]]:
    """What was sent to the service, the seconds that it took, and the goal."""
    with tempfile.TemporaryDirectory() as home:
        own = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "PREFECT_HOME": home,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "S3_BUCKET_NAME": "bucket",
            "S3_DEPARTMENT_MEMBERS_PATH": "members/",
            "SNS_TOPIC_ARN": TOPIC,
        }
        with PrefectServer(own) as prefect, WebhookService(prefect.environment, TOPIC, "http://127.0.0.1:9") as service:
            return asyncio.run(measure(service.url))


async def measure(url: str) -> list[tuple[str, float, float]]:
    """Measure everything, against the service at that address."""
    limits = httpx.Limits(max_connections=AT_ONCE)
    headers = {b"x-api-key": API_KEY.encode()}
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=PATIENCE_S) as client:
        await post(client, event("warm"))
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> float:
            async with at_once:
                return await post(client, event(f"{number}.csv"))

        taken, health = await beside_health(url, asyncio.gather(*(one(number) for number in range(POSTS))))
        message = {"Records": [record(f"members/{number}") for number in range(RECORDS)]}
        of_many, health_meanwhile = await beside_health(url, post(client, message))
    return [
        (f"{POSTS} posts, {AT_ONCE} at once: the slowest", max(taken), 2.0),
        ("`/health` meanwhile: the slowest", health, 0.2),
        (f"one message of {RECORDS:,} records", of_many, 5.0),
        ("`/health` meanwhile: the slowest", health_meanwhile, 0.2),
    ]


async def beside_health(url: str, work: Awaitable[T]) -> tuple[T, float]:
    """The work's result, and the seconds of the slowest `/health` request from another process while it ran."""
    probe = subprocess.Popen(
        [sys.executable, "-c", PROBE, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert probe.stdout is not None
    await asyncio.to_thread(probe.stdout.readline)
    done = await work
    slowest, _ = await asyncio.to_thread(probe.communicate, "")
    return done, float(slowest)


async def post(client: httpx.AsyncClient, body: dict[str, Any]) -> float:
    """Post one message; return the seconds until it was accepted."""
    began = time.perf_counter()
    (await client.post("/eventbridge", json=body)).raise_for_status()
    return time.perf_counter() - began


def event(name: str) -> dict[str, Any]:
    """EventBridge's event for one object."""
    detail = {"bucket": {"name": "bucket"}, "object": {"key": f"members/{name}", "etag": "e", "version-id": name}}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}


def record(key: str) -> dict[str, Any]:
    """One record of S3's own notification, with only what the service reads: 4,000 are 430 KB."""
    return {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "bucket"}, "object": {"key": key}}}
