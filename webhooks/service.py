"""The web service: `POST /sns` and `POST /eventbridge` become Prefect events, `POST /watch` an alert.

Answers 200 once Prefect or SNS has accepted the event or alert; 4xx if a retry would not help; 503 while Prefect,
Amazon's certificate or SNS cannot be reached, so that AWS delivers again. Prefect itself does not retry its calls.
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
from webhooks.objects import SnapshotFilter, created_objects
from webhooks.outbound import Refused
from webhooks.sns import Envelope, Fetch, NotFromAmazon, Verifier

LARGEST_BODY = 512 * 1024  # SNS and EventBridge send 256 KB at most, before JSON escapes it
MOST_PUBLISHING = 4
"""How many alerts are published concurrently, so that a hanging SNS call cannot block all threads."""
Emit = Callable[[list[dict[str, Any]]], Awaitable[None]]
"""Sends events to Prefect; raises httpx.HTTPError if Prefect does not accept them now, Refused if it never will."""

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

    watched: SnapshotFilter
    topics: frozenset[str]
    api_key: str | None
    watch: WatchSettings | None = None


def create_app(settings: Settings, *, fetch: Fetch, emit: Emit, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The service, with its two outgoing calls as arguments; `lifespan` opens what they need."""
    title = "department-members webhooks"
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    verifier = Verifier(settings.topics, fetch)
    prefect_answered: datetime | None = None

    async def take(message: Any) -> dict[str, int]:
        """Emit one event for each snapshot named in a message."""
        nonlocal prefect_answered
        refuse_unwrapped(message)
        try:
            # One message may name thousands of objects; in a thread, others are answered meanwhile.
            events, ignored, malformed = await run_in_threadpool(events_of, message, settings.watched)
        except ValidationError:
            raise HTTPException(400, "expected an S3 notification, found another format") from None
        if events:
            await hand_over(emit, events)
            prefect_answered = datetime.now(UTC)
        await run_in_threadpool(log_objects, events, ignored)
        if malformed:
            raise HTTPException(400, f"expected S3 records, found {malformed} malformed; the others were processed")
        if not events and not ignored:
            log.info("ignored a message without new objects")
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
            log.error(
                "%s: an unexpected %s; answered 503 so that it is delivered again",
                request.url.path,
                type(error).__name__,
            )
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
            raise HTTPException(400, "expected an SNS message in JSON, found another format") from None
        try:
            await verifier.verify(envelope)
            if envelope.Type == "SubscriptionConfirmation":
                await verifier.confirm(envelope)
                log.info("subscribed to %s", envelope.TopicArn)
        except NotFromAmazon as reason:
            raise HTTPException(403, f"refused: {reason}") from None
        except OSError as error:
            raise HTTPException(503, f"Amazon cannot be reached ({error}); deliver again") from None
        return await take(parsed(envelope.Message)) if envelope.Type == "Notification" else {"events": 0}

    if settings.watch is not None:
        take_alerts(app, settings.watch)
    return app


def events_of(message: Any, watched: SnapshotFilter) -> tuple[list[dict[str, Any]], list[str], int]:
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
    """Return once Prefect has accepted the events; otherwise raise 503 (AWS will retry), or 422 if that is no use."""
    try:
        await emit(events)
    except Refused as error:
        for event, status, text in error.refused:
            uri = event["resource"]["prefect.resource.id"]
            log.error("%s: Prefect answered its event with %d: %s", uri, status, text[:500])
        raise HTTPException(422, "Prefect refused an event (see the service's log); it accepted the others") from None
    except httpx.HTTPStatusError as error:
        log.error("Prefect answered an event with %d: %s", error.response.status_code, error.response.text[:500])
        raise HTTPException(503, "Prefect did not accept the event; deliver again") from None
    except httpx.HTTPError as error:
        log.error("Prefect did not accept the event (%s); AWS will deliver it again", type(error).__name__)
        raise HTTPException(503, "Prefect cannot be reached; deliver again") from None


def refuse_unwrapped(message: Any) -> None:
    """Raise 400 for an EventBridge event reduced to its detail, which names an object but not what happened to it."""
    if isinstance(message, dict) and {"bucket", "object"} <= message.keys() and "detail" not in message:
        log.warning(
            "refused an EventBridge event reduced to its detail. Remove InputPath and InputTransformer from the rule's "
            "target."
        )
        raise HTTPException(400, "expected the whole EventBridge event, found only its detail")


def refuse_raw(message: Any) -> None:
    """Raise 400 for a raw SNS message, which lacks the envelope with the signature."""
    if isinstance(message, dict) and ("Records" in message or message.get("source") == "aws.s3" or "Event" in message):
        log.warning("refused a raw SNS message. Set RawMessageDelivery to false on the subscription.")
        raise HTTPException(400, "expected a signed SNS message, found a raw one")


def take_alerts(app: FastAPI, settings: WatchSettings) -> None:
    """Add the endpoint that publishes alerts from the watch's automations."""
    publishing = CapacityLimiter(MOST_PUBLISHING)

    @app.post("/watch")
    async def watch(request: Request) -> dict[str, int]:
        check_key(request, settings.key, "the watch's key")
        try:
            subject, text = message(ALERT.validate_json(await bounded_body(request)))
        except ValidationError:
            raise HTTPException(400, "expected an alert from webhooks/automations.py, found another format") from None
        try:
            text = in_format(settings.topic.alert_format, subject, text)
            await to_thread.run_sync(settings.topic.publish, subject, text, limiter=publishing)
        # before BotoCoreError, of which it is one
        except ReadTimeoutError:
            log.error("%s: SNS did not answer in time, so the alert may or may not have been published", subject)
            raise HTTPException(503, "SNS did not answer; it may have published the alert") from None
        except (ClientError, BotoCoreError, ValueError) as error:
            log.error(
                "%s: not published (%s). Check SNS_TOPIC_ARN and the AWS permissions", subject, type(error).__name__
            )
            raise HTTPException(503, "SNS did not accept the alert") from None
        log.info("published: %s", subject)
        return {"alerts": 1}


def check_key(request: Request, expected: str | None, name: str) -> None:
    """Raise 401 unless the request has that key as x-api-key."""
    given = request.headers.get("x-api-key", "").encode("latin-1")  # the bytes as they were sent
    # compare_digest takes as long for any wrong key, so its time says nothing about the right one
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
        raise HTTPException(400, "expected a complete body, but the connection was closed") from None
    return bytes(body)


def parsed(text: str | bytes) -> Any:
    """The parsed JSON, or 400; also 400 if a string in it contains half a surrogate pair."""
    try:
        found = json.loads(text)
        # only an escape can write half a surrogate pair, and only encoding finds it
        if (b"\\u" if isinstance(text, bytes) else "\\u") in text:  # type: ignore[operator]
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # UnicodeEncodeError is a ValueError
        raise HTTPException(400, "expected JSON") from None
    return found
