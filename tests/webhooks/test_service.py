"""The webhook service over real HTTP: who may deliver, what becomes an event, what is answered."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.support.webhooks import (
    API_KEY,
    EXPECTED,
    Service,
    bridge_event,
    s3_event,
)
from webhooks.service import LARGEST_BODY


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [None, "Amazon S3 Notification"])
def test_a_signed_notification_becomes_one_event(service: Service, version: str, subject: str | None) -> None:
    answer = service.sns(service.amazon.envelope(s3_event(), SignatureVersion=version, Subject=subject))
    assert (answer.status_code, answer.json()) == (200, {"events": 1})
    [event] = service.events
    assert event["payload"] == EXPECTED
    assert event["resource"]["prefect.resource.id"] == "s3://snapshots/members/dép 1+2.csv"


def test_eventbridge_tells_the_same_of_the_same_object(service: Service) -> None:
    service.sns(service.amazon.envelope(s3_event()))
    assert service.eventbridge(bridge_event()).json() == {"events": 1}
    [by_sns, by_bridge] = service.events
    assert by_bridge["payload"] == EXPECTED
    assert by_bridge["id"] == by_sns["id"]


def test_eventbridge_by_way_of_sns_is_understood(service: Service) -> None:
    assert service.sns(service.amazon.envelope(bridge_event())).json() == {"events": 1}


def test_another_delivery_has_the_same_id_and_another_version_another(service: Service) -> None:
    for version in ("v1", "v1", "v2"):
        service.sns(service.amazon.envelope(s3_event(versionId=version)))
    first, again, other = (event["id"] for event in service.events)
    assert first == again != other


def test_what_s3_does_not_give_is_null_and_not_left_out(service: Service) -> None:
    message = s3_event()
    del message["Records"][0]["s3"]["object"]["versionId"]
    service.sns(service.amazon.envelope(message))
    assert service.events[0]["payload"] == {**EXPECTED, "version_id": None}


@pytest.mark.parametrize(
    "message",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "snapshots"},
        s3_event("ObjectRemoved:Delete"),
        s3_event("ObjectRemoved:DeleteMarkerCreated"),
        s3_event(bucket="another"),
        s3_event(key="elsewhere/x.csv"),
        s3_event(key="members/x.csv.rejected/1.csv"),
        bridge_event("Object Deleted"),
        [],
        "a text",
    ],
)
def test_what_is_no_snapshot_starts_nothing(service: Service, message: Any) -> None:
    answer = service.sns(service.amazon.envelope(json.dumps(message)))
    assert (answer.status_code, answer.json(), service.events) == (200, {"events": 0}, [])


@pytest.mark.parametrize("key", [None, "", "wrong", API_KEY[:-1], API_KEY + "x"])
def test_eventbridge_needs_the_key(service: Service, key: str | None) -> None:
    assert service.eventbridge(bridge_event(), key).status_code == 401
    assert service.events == []


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b'{"Records": [{}]}', b'{"Records": 7}'])
def test_a_malformed_body_is_refused(service: Service, body: bytes) -> None:
    assert service.eventbridge(body).status_code == 400
    assert service.sns(body).status_code == 400
    assert service.sns(service.amazon.envelope(body.decode(errors="replace"))).status_code == 400
    assert service.events == []


HALF = (
    '{"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "snapshots"}, "object": %s}}'
)


@pytest.mark.parametrize(
    "found",
    [
        '{"key": "members/\\ud800.csv"}',
        '{"key": "members/a.csv", "etag": "\\udfff"}',
        '{"key": "members/a.csv", "version-id": "\\ud800x"}',
    ],
)
def test_half_a_character_is_refused_whichever_way_it_comes(service: Service, found: str) -> None:
    assert service.eventbridge((HALF % found).encode()).status_code == 400
    assert service.sns(service.amazon.envelope(HALF % found)).status_code == 400
    assert service.eventbridge((HALF % '{"key": "members/\\ud83d\\ude00.csv"}').encode()).status_code == 200


def test_of_many_records_one_malformed_loses_no_other(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    records = [s3_event(key=f"members/{n}.csv")["Records"][0] for n in range(5)]
    answer = service.sns(service.amazon.envelope({"Records": [*records[:2], {"eventName": 7}, *records[2:]]}))
    assert (answer.status_code, len(service.events)) == (400, 5)
    assert "found 1 malformed; the others were processed" in caplog.text


def test_a_folder_that_the_console_makes_is_no_snapshot(service: Service) -> None:
    assert service.sns(service.amazon.envelope(s3_event(key="members/", size=0))).json() == {"events": 0}


def test_every_refusal_has_a_line_in_the_log(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.eventbridge(b"{")
    service.sns(b'{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"snapshots"}')
    service.sns(b" " * (LARGEST_BODY + 1))
    service.amazon.down = True
    assert service.sns(service.amazon.envelope(s3_event())).status_code == 503
    lines = [record.getMessage() for record in caplog.records if record.name == "webhooks"]
    assert [line.partition(":")[0] for line in lines if "answered" in line] == [
        "/eventbridge", "/sns", "/sns", "/sns"
    ]  # fmt: skip
    assert any("RawMessageDelivery" in line for line in lines)


def test_an_error_that_nobody_thought_of_is_no_500(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.service.created_objects", lambda message: 1 / 0)
    assert service.eventbridge(bridge_event()).status_code == 503


def test_a_body_too_long_is_refused(service: Service) -> None:
    assert service.sns(b" " * (LARGEST_BODY + 1)).status_code == 413
    assert service.eventbridge(b" " * (LARGEST_BODY + 1)).status_code == 413


def test_while_prefect_is_down_aws_is_asked_to_deliver_again(service: Service) -> None:
    service.prefect_is_down = True
    assert service.sns(service.amazon.envelope(s3_event())).status_code == 503
    service.prefect_is_down = False
    assert service.sns(service.amazon.envelope(s3_event())).status_code == 200
    assert len(service.events) == 1


@pytest.mark.parametrize(
    ("status", "answered"),
    [(401, 503), (403, 503), (429, 503), (500, 503), (404, 503), (307, 503), (409, 503), (400, 422), (422, 422)],
)
def test_aws_is_not_asked_to_repeat_what_prefect_never_takes(
    service: Service, caplog: pytest.LogCaptureFixture, status: int, answered: int
) -> None:
    service.prefect_answers = status
    assert service.sns(service.amazon.envelope(s3_event())).status_code == answered
    assert re.search(f"Prefect answered (an|its) event with {status}: " + re.escape(r"because\nof this"), caplog.text)
    assert requests.get(f"{service.url}/health", timeout=10).json() == {
        "status": "ok",
        "prefect_took_an_event_at": None,
    }


def test_health_says_when_prefect_last_took_an_event(service: Service) -> None:
    service.sns(service.amazon.envelope(s3_event()))
    found = requests.get(f"{service.url}/health", timeout=10).json()
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found["prefect_took_an_event_at"])) < timedelta(minutes=1)


@pytest.mark.parametrize("message", [s3_event(), bridge_event(), {"Records": []}, {"source": "aws.s3", "detail": {}}])
def test_raw_delivery_is_refused_with_its_remedy(
    service: Service, caplog: pytest.LogCaptureFixture, message: dict[str, Any]
) -> None:
    assert (service.sns(message).status_code, service.events) == (400, [])
    assert "Set RawMessageDelivery to false on the subscription" in caplog.text


def test_a_bare_detail_of_eventbridge_is_refused_with_its_remedy(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    for detail in (bridge_event()["detail"], {"bucket": {}, "object": {}, "reason": "PutObject"}):
        caplog.clear()
        assert service.eventbridge(detail).status_code == 400
        assert service.sns(service.amazon.envelope(detail)).status_code == 400
        assert caplog.text.count("Remove InputPath and InputTransformer") == 2
    assert service.events == []


def test_while_amazon_is_down_aws_is_asked_to_deliver_again(service: Service) -> None:
    service.amazon.down = True
    assert service.sns(service.amazon.envelope(s3_event())).status_code == 503
