"""SNS's messages over real HTTP: what is Amazon's, and what is forged."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.webhooks import CERTIFICATE_URL, CONFIRM_URL, TOPIC, Amazon, Service, s3_event, written
from webhooks.sns import MOST_FETCHES, Envelope, NotFromAmazon, Verifier, sns_host


@pytest.mark.parametrize(
    "fields",
    [
        {"Message": json.dumps(s3_event(key="members/other.csv"))},
        {"TopicArn": TOPIC.replace("objects", "another")},
        {"SignatureVersion": "3"},
        {"Type": "Nonsense"},
        {"Signature": "not base64!"},
        {"Signature": "é"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem"},
        {"SigningCertURL": "https://evil.example/sns.eu-west-1.amazonaws.com"},
        {"SigningCertURL": "http://sns.eu-west-1.amazonaws.com/x.pem"},
        {"SigningCertURL": "https://user@sns.eu-west-1.amazonaws.com/x.pem"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com:8443/x.pem"},
        {"SigningCertURL": CERTIFICATE_URL.replace("eu-west-1", "s3")},
        {"SigningCertURL": CERTIFICATE_URL.replace("eu-west-1", "eu-west-2")},
        {"SigningCertURL": CERTIFICATE_URL.replace(".com", ".com.cn")},
        {"SigningCertURL": CERTIFICATE_URL + "?x=.pem"},
        {"SigningCertURL": CERTIFICATE_URL + "#x"},
        {"SigningCertURL": CERTIFICATE_URL.replace("/Simple", "/bucket/Simple")},
        {"SigningCertURL": CERTIFICATE_URL.replace("/Simple", "/evil/../Simple")},
        {"SigningCertURL": "https://[sns/x.pem"},
    ],
)
def test_a_forged_message_is_refused(service: Service, fields: dict[str, Any]) -> None:
    answer = service.sns({**service.amazon.envelope(s3_event()), **fields})
    assert (answer.status_code, service.events) == (403, [])
    assert all(url == CERTIFICATE_URL for url in service.amazon.asked)


@pytest.mark.parametrize(
    "timestamp", ["", "now", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z", "2026-13-01T00:00:00.000Z"]
)
def test_a_signed_message_of_a_strange_time_is_refused(service: Service, timestamp: str) -> None:
    assert service.sns(service.amazon.envelope(s3_event(), Timestamp=timestamp)).status_code == 403
    assert service.events == []


@pytest.mark.parametrize(("hours", "status"), [(-25, 403), (-23, 200), (23, 200), (25, 403)])
def test_a_message_older_than_a_day_is_refused(service: Service, hours: int, status: int) -> None:
    timestamp = written(datetime.now(UTC) + timedelta(hours=hours))
    assert service.sns(service.amazon.envelope(s3_event(), Timestamp=timestamp)).status_code == status


@pytest.mark.parametrize(
    ("name", "later", "status"),
    [
        ("sns.amazonaws.com", 0, 200),
        ("sns.eu-west-1.amazonaws.com", 0, 200),
        ("sns.s3.amazonaws.com", 0, 403),
        ("sns.eu-west-2.amazonaws.com", 0, 403),
        ("*.amazonaws.com", 0, 403),
        ("evil.example", 0, 403),
        ("sns.amazonaws.com", -2, 403),
        ("sns.amazonaws.com", 2, 403),
    ],
)
def test_the_certificate_is_sns_own_and_valid_now(service: Service, name: str, later: int, status: int) -> None:
    service.amazon.issue(name, timedelta(days=later))
    assert service.sns(service.amazon.envelope(s3_event())).status_code == status


@pytest.mark.parametrize(
    ("topic", "host"),
    [
        ("arn:aws:sns:ap-southeast-7:123456789012:objects", "sns.ap-southeast-7.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:objects", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:objects", "sns.us-gov-west-1.amazonaws.com"),
        ("arn:aws-eusc:sns:eusc-de-east-1:123456789012:o.fifo", "sns.eusc-de-east-1.amazonaws.eu"),
        ("arn:aws-iso-b:sns:us-isob-east-1:123456789012:objects", "sns.us-isob-east-1.sc2s.sgov.gov"),
    ],
)
def test_each_partition_has_its_own_host(topic: str, host: str) -> None:
    assert sns_host(topic) == host


@pytest.mark.parametrize("topic", ["", "objects", "arn:aws-moon:sns:sea-1:123456789012:o", "arn:aws:sns:s3/x:1:o"])
def test_what_is_no_topic_has_no_host(topic: str) -> None:
    with pytest.raises(NotFromAmazon):
        sns_host(topic)


def test_a_signature_by_another_key_is_refused(service: Service) -> None:
    assert service.sns(Amazon().envelope(s3_event())).status_code == 403
    assert service.events == []


def test_the_certificate_is_fetched_once(service: Service) -> None:
    for _ in range(3):
        service.sns(service.amazon.envelope(s3_event()))
    assert service.amazon.asked == [CERTIFICATE_URL]


def test_a_certificate_is_read_once_for_all_who_wait_and_few_at_a_time() -> None:
    amazon, asked = Amazon(), []
    waiting = asyncio.Event()

    async def slow(url: str) -> bytes:
        asked.append(url)
        await waiting.wait()
        return amazon.pem

    async def all_at_once(envelopes: list[Envelope]) -> list[BaseException | None]:
        verifier = Verifier(frozenset({TOPIC}), slow)
        verdicts = [asyncio.ensure_future(verifier.verify(envelope)) for envelope in envelopes]
        await asyncio.sleep(0.1)
        waiting.set()
        return list(await asyncio.gather(*verdicts, return_exceptions=True))

    genuine = Envelope.model_validate(amazon.envelope(s3_event()))
    assert asyncio.run(all_at_once([genuine] * 60)) == [None] * 60
    assert asked == [CERTIFICATE_URL]
    asked.clear()
    waiting.clear()
    made_up = [
        genuine.model_copy(update={"SigningCertURL": CERTIFICATE_URL.replace("-1.pem", f"-{n}.pem")}) for n in range(60)
    ]
    found = asyncio.run(all_at_once(made_up))
    assert len(asked) == MOST_FETCHES == sum(not isinstance(each, OSError) for each in found)


def test_a_certificate_that_could_not_be_read_is_not_asked_for_at_once_again(service: Service) -> None:
    service.amazon.down = True
    for _ in range(3):
        assert service.sns(service.amazon.envelope(s3_event())).status_code == 503
    assert service.amazon.asked == [CERTIFICATE_URL]


def test_a_subscription_to_our_topic_is_confirmed_and_to_another_is_not(service: Service) -> None:
    offer = {"Type": "SubscriptionConfirmation", "SubscribeURL": CONFIRM_URL, "Token": "t"}
    assert service.sns(service.amazon.envelope("Please confirm", **offer)).status_code == 200
    assert service.amazon.asked == [CERTIFICATE_URL, CONFIRM_URL]
    for url in (
        "https://evil.example/",
        CONFIRM_URL.replace("Confirm", "Delete"),
        CONFIRM_URL.replace("eu-west-1", "s3"),
        CONFIRM_URL.replace("/?", "/bucket?"),
        "https://[sns",
    ):
        elsewhere = {**offer, "SubscribeURL": url}
        assert service.sns(service.amazon.envelope("Please confirm", **elsewhere)).status_code == 403
    other = {**offer, "TopicArn": TOPIC + "2"}
    assert service.sns(service.amazon.envelope("Please confirm", **other)).status_code == 403
    assert service.amazon.asked == [CERTIFICATE_URL, CONFIRM_URL]
