"""The id of an object's event: the same for a repeated delivery, its own for each publication."""

from typing import Any

import pytest

from webhooks.objects import created_objects


def by_sns(etag: str, sequencer: str | None = None, version: str | None = None, time: str | None = None) -> str:
    found = {"key": "members.csv", "eTag": etag, "versionId": version, "sequencer": sequencer, "size": 7}
    record = {"eventName": "ObjectCreated:Put", "eventTime": time, "s3": {"bucket": {"name": "b"}, "object": found}}
    return event_id({"Records": [without_nulls(record)]})


def by_eventbridge(etag: str, sequencer: str | None = None, version: str | None = None, time: str | None = None) -> str:
    found = {"key": "members.csv", "etag": etag, "version-id": version, "sequencer": sequencer, "size": 7}
    detail = {"bucket": {"name": "b"}, "object": found}
    return event_id(
        without_nulls({"source": "aws.s3", "detail-type": "Object Created", "time": time, "detail": detail})
    )


def without_nulls(message: dict[str, Any]) -> dict[str, Any]:
    """As S3 sends it: what it does not know is left out."""
    return {
        name: without_nulls(value) if isinstance(value, dict) else value
        for name, value in message.items()
        if value is not None
    }


def event_id(message: dict[str, Any]) -> str:
    [found], _ = created_objects(message)
    return str(found.event()["id"])


SENDERS = pytest.mark.parametrize("sent", [by_sns, by_eventbridge])


@SENDERS
@pytest.mark.parametrize("version", [None, "null", ""])
def test_the_third_publication_is_not_the_first_though_its_content_is(sent: Any, version: str | None) -> None:
    first, second, third = sent("A", "0055", version), sent("B", "0056", version), sent("A", "0057", version)
    assert len({first, second, third}) == 3
    assert sent("A", "0055", version) == first  # delivered again
    assert sent("A", "0057", version) == third


@SENDERS
def test_the_same_content_published_twice_in_a_row_is_two_publications(sent: Any) -> None:
    assert sent("A", "0055") != sent("A", "0056")


@SENDERS
def test_a_version_is_one_publication_whatever_else_is_sent(sent: Any) -> None:
    assert sent("A", "0055", "v1") == sent("A", None, "v1") == sent("A", "0056", "v1", "2026-01-01T00:00:00Z")
    assert sent("A", "0055", "v1") != sent("A", "0055", "v2")


@SENDERS
def test_without_a_sequencer_the_events_time_takes_its_place(sent: Any) -> None:
    first, again, third = (sent("A", time=f"2026-01-01T00:00:0{second}.000Z") for second in (1, 1, 3))
    assert first == again != third


@SENDERS
def test_without_either_a_repeated_delivery_keeps_its_id(sent: Any) -> None:
    assert sent("A") == sent("A") != sent("B")


@pytest.mark.parametrize(("sequencer", "version"), [("0055", None), ("0055", "v1"), (None, "v1")])
def test_both_senders_mean_the_same_publication(sequencer: str | None, version: str | None) -> None:
    assert by_sns("A", sequencer, version) == by_eventbridge("A", sequencer, version)


def test_a_trigger_sees_no_sequencer() -> None:
    found = {"key": "members.csv", "etag": "A", "sequencer": "0055"}
    [created], _ = created_objects(
        {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": found}}
    )
    expected = {"bucket": "b", "key": "members.csv", "version_id": None, "etag": "A", "size": None}
    assert created.event()["payload"] == expected
