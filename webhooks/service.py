"""The web service: `POST /sns` and `POST /eventbridge` become Prefect events, `POST /watch` an alert.

Answers 200 once Prefect, or SNS, has what it was given; 4xx for what no repetition betters; 503 while Prefect,
Amazon's certificate or SNS is out of reach, so that AWS delivers again. Prefect calls once and does not repeat.
"""

import hmac
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from anyio import CapacityLimiter, to_thread
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Lifespan

from blocks.alerts import AlertTopic
from tasks.chat import in_format
from tasks.log import OneLine
from webhooks.alerts import ALERT, message
from webhooks.objects import Watched, created_objects
from webhooks.outbound import Refused
from webhooks.sns import Envelope, Fetch, Forged, Verifier

LARGEST_BODY = 512 * 1024  # SNS and EventBridge send 256 KB at most, before JSON escapes it
MOST_PUBLISHING = 4
"""Alerts that are being published at once, so that an SNS that hangs holds up none of the other threads."""
Emit = Callable[[list[dict[str, Any]]], Awaitable[None]]
"""Hands events to Prefect; raises httpx.HTTPError where Prefect does not take them now, Refused where it never will."""

log = OneLine(logging.getLogger("webhooks"), {})


@dataclass(frozen=True)
class WatchSettings:
    """What the watch's automations send as x-api-key, and where their messages go."""

    key: str
    topic: AlertTopic


@dataclass(frozen=True)
class Settings:
    """What the service takes, and from whom.

    Attributes:
        watched: the snapshots' bucket and prefix.
        topics: the SNS topics whose messages are taken.
        api_key: what EventBridge's API destination sends as x-api-key; None takes nothing from there.
        watch: how the watch's calls become messages; None takes none.
    """

    watched: Watched
    topics: frozenset[str]
    api_key: str | None
    watch: WatchSettings | None = None


def create_app(settings: Settings, *, fetch: Fetch, emit: Emit, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The service, with the two things it does to the world as arguments; `lifespan` opens what they need."""
    title = "department-members webhooks"
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    verifier = Verifier(settings.topics, fetch)
    prefect_answered: datetime | None = None

    async def take(message: Any) -> dict[str, int]:
        """Emit one event for each snapshot that a message tells of."""
        nonlocal prefect_answered
        refuse_unwrapped(message)
        try:
            # One message may name thousands of objects; in a thread, others are answered meanwhile.
            events, ignored, malformed = await run_in_threadpool(events_of, message, settings.watched)
        except ValidationError:
            raise HTTPException(400, "expected S3's notification, found another form") from None
        if events:
            await hand_over(emit, events)
            prefect_answered = datetime.now(UTC)
        await run_in_threadpool(log_objects, events, ignored)
        if malformed:
            raise HTTPException(400, f"expected S3's records, found {malformed} of another form; the others are done")
        if not events and not ignored:
            log.info("a message that tells of no new object, ignored")
        return {"events": len(events)}

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        log.warning("%s: answered %d: %s", request.url.path, error.status_code, error.detail)
        return JSONResponse({"detail": error.detail}, error.status_code)

    @app.middleware("http")
    async def answer_in_any_case(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            return await call_next(request)
        except Exception as error:
            log.error("%s: an unexpected %s; deliver again", request.url.path, type(error).__name__)
            return JSONResponse({"detail": "an unexpected error; deliver again"}, 503)

    @app.get("/health")
    async def health() -> dict[str, str | None]:
        answered = prefect_answered.isoformat(timespec="seconds") if prefect_answered else None
        return {"status": "ok", "prefect_took_an_event_at": answered}

    @app.post("/eventbridge")
    async def eventbridge(request: Request) -> dict[str, int]:
        check_key(request, settings.api_key, "the API destination's key")
        return await take(parsed(await bounded_body(request)))

    @app.post("/sns")
    async def sns(request: Request) -> dict[str, int]:
        body = await bounded_body(request)
        try:
            envelope = Envelope.model_validate_json(body)
        except ValidationError:
            refuse_raw(parsed(body))
            raise HTTPException(400, "expected SNS's JSON, found another form") from None
        try:
            await verifier.verify(envelope)
            if envelope.Type == "SubscriptionConfirmation":
                await verifier.confirm(envelope)
                log.info("subscribed to %s", envelope.TopicArn)
        except Forged as reason:
            raise HTTPException(403, f"refused: {reason}") from None
        except OSError as error:
            raise HTTPException(503, f"Amazon is out of reach ({error}); deliver again") from None
        return await take(parsed(envelope.Message)) if envelope.Type == "Notification" else {"events": 0}

    if settings.watch is not None:
        take_alerts(app, settings.watch)
    return app


def events_of(message: Any, watched: Watched) -> tuple[list[dict[str, Any]], list[str], int]:
    """Prefect's events for the snapshots that a message names, the addresses of its other objects, what is malformed.

    Raises:
        pydantic.ValidationError: see `created_objects`.
    """
    found, malformed = created_objects(message)
    events = [of.event() for of in found if watched.wants(of)]
    return events, [of.uri for of in found if not watched.wants(of)], malformed


def log_objects(events: list[dict[str, Any]], ignored: list[str]) -> None:
    """Say what became of each object."""
    for event in events:
        log.info("%s: event sent", event["resource"]["prefect.resource.id"])
    for uri in ignored:
        log.info("%s: not a snapshot, ignored", uri)


async def hand_over(emit: Emit, events: list[dict[str, Any]]) -> None:
    """Prefect has the events when this returns; else 503, so that AWS delivers again, or 422 where that cannot help."""
    try:
        await emit(events)
    except Refused as error:
        for event, status, text in error.refused:
            uri = event["resource"]["prefect.resource.id"]
            log.error("%s: Prefect answered its event with %d: %s", uri, status, text[:500])
        raise HTTPException(422, "Prefect refused an event, see the service's log; it has the others") from None
    except httpx.HTTPStatusError as error:
        log.error("Prefect answered an event with %d: %s", error.response.status_code, error.response.text[:500])
        raise HTTPException(503, "Prefect did not take the event; deliver again") from None
    except httpx.HTTPError as error:
        log.error("Prefect did not take the event (%s); AWS will deliver again", type(error).__name__)
        raise HTTPException(503, "Prefect is out of reach; deliver again") from None


def refuse_unwrapped(message: Any) -> None:
    """400 for EventBridge's bare detail, which names an object and not what became of it."""
    if isinstance(message, dict) and {"bucket", "object"} <= message.keys() and "detail" not in message:
        log.warning("refused EventBridge's bare detail. Remove InputPath and InputTransformer from the rule's target.")
        raise HTTPException(400, "expected EventBridge's whole event, found its detail alone")


def refuse_raw(message: Any) -> None:
    """400 for what SNS delivers raw, without the envelope that holds its signature."""
    if isinstance(message, dict) and ("Records" in message or message.get("source") == "aws.s3" or "Event" in message):
        log.warning("refused a raw message of SNS. Set RawMessageDelivery of the subscription to false.")
        raise HTTPException(400, "expected SNS's envelope with its signature, found a raw message")


def take_alerts(app: FastAPI, settings: WatchSettings) -> None:
    """Let the app publish what the watch's automations call it with."""
    publishing = CapacityLimiter(MOST_PUBLISHING)

    @app.post("/watch")
    async def watch(request: Request) -> dict[str, int]:
        check_key(request, settings.key, "the watch's key")
        try:
            subject, text = message(ALERT.validate_json(await bounded_body(request)))
        except ValidationError:
            raise HTTPException(400, "expected an alert of webhooks/automations.py, found another form") from None
        try:
            text = in_format(settings.topic.alert_format, subject, text)
            await to_thread.run_sync(settings.topic.publish, subject, text, limiter=publishing)
        except ReadTimeoutError:
            log.error("%s: SNS did not say in time whether it published it", subject)
            raise HTTPException(503, "SNS did not answer; it may have published the message") from None
        except (ClientError, BotoCoreError, ValueError) as error:
            log.error("%s: not published (%s). Check SNS_TOPIC_ARN and the AWS rights", subject, type(error).__name__)
            raise HTTPException(503, "SNS did not take the message") from None
        log.info("published: %s", subject)
        return {"alerts": 1}


def check_key(request: Request, expected: str | None, name: str) -> None:
    """Return if the request brings that key as x-api-key; else 401."""
    given = request.headers.get("x-api-key", "").encode("latin-1")  # the bytes as they were sent
    if expected is None or not hmac.compare_digest(given, expected.encode()):
        raise HTTPException(401, f"expected {name} as x-api-key")


async def bounded_body(request: Request) -> bytes:
    """The whole body, or 413 as soon as it is too long."""
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST_BODY:
                raise HTTPException(413, f"expected at most {LARGEST_BODY} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "expected a whole body, found the connection closed") from None
    return bytes(body)


def parsed(text: str | bytes) -> Any:
    """The JSON, or 400; also for text in it that is none, since an escape stands for half a character."""
    try:
        found = json.loads(text)
        if (b"\\u" if isinstance(text, bytes) else "\\u") in text:  # type: ignore[operator]
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # UnicodeEncodeError is a ValueError
        raise HTTPException(400, "expected JSON") from None
    return found
