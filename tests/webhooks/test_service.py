"""The webhook service over real HTTP: who may deliver, what becomes an event, what is answered."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import requests
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sandbox.postgres import free_port
from webhooks.objects import Watched
from webhooks.service import LARGEST_BODY, Settings, create_app
from webhooks.sns import Envelope, Forged, sns_host

TOPIC = "arn:aws:sns:eu-west-1:123456789012:objects"
API_KEY = "a key of some length, é"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"
CONFIRM_URL = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
S3_OBJECT = {"key": "members/d%C3%A9p+1%2B2.csv", "versionId": "v1", "eTag": "e1", "size": 7, "sequencer": "00"}
EXPECTED = {"bucket": "snapshots", "key": "members/dép 1+2.csv", "version_id": "v1", "etag": "e1", "size": 7}


def written(moment: datetime) -> str:
    """A time as SNS writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


class Amazon:
    """SNS's key and certificate, and who asked for what."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.issue("sns.amazonaws.com", timedelta())
        self.asked: list[str] = []
        self.down = False

    def issue(self, common_name: str, later: timedelta) -> None:
        """A certificate for that name, valid from a day ago to a day ahead, or so much later."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        now = datetime.now(UTC) + later
        certificate = (
            x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if self.down:
            raise OSError("down")
        return self.pem

    def envelope(self, message: Any, **fields: Any) -> dict[str, Any]:
        """A signed message."""
        text = message if isinstance(message, str) else json.dumps(message)
        unsigned = {
            "Type": "Notification", "MessageId": "m1", "TopicArn": TOPIC, "Message": text, "SignatureVersion": "2",
            "Timestamp": written(datetime.now(UTC)), "Signature": "", "SigningCertURL": CERTIFICATE_URL, **fields,
        }  # fmt: skip
        algorithm = hashes.SHA1() if unsigned["SignatureVersion"] == "1" else hashes.SHA256()  # noqa: S303
        signed = Envelope.model_validate(unsigned).signed_text()
        signature = self.key.sign(signed, padding.PKCS1v15(), algorithm)
        return {**unsigned, "Signature": base64.b64encode(signature).decode()}


class Service:
    """The service on a port, Amazon and Prefect stood in for by what it was given."""

    def __init__(self) -> None:
        self.amazon = Amazon()
        self.events: list[dict[str, Any]] = []
        self.prefect_is_down = False
        self.prefect_answers: int | None = None
        settings = Settings(Watched("snapshots", "members/"), frozenset({TOPIC}), API_KEY)
        app = create_app(settings, fetch=self.amazon.fetch, emit=self.emit)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical"))
        threading.Thread(target=self.server.run, daemon=True).start()
        while not self.server.started:
            time.sleep(0.02)

    async def emit(self, events: list[dict[str, Any]]) -> None:
        if self.prefect_is_down:
            raise httpx.ConnectError("down")
        if self.prefect_answers is not None:
            answer = httpx.Response(self.prefect_answers, text="because\nof this")
            raise httpx.HTTPStatusError("no", request=httpx.Request("POST", "http://p"), response=answer)
        self.events += events

    def sns(self, envelope: Any) -> requests.Response:
        body = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
        return requests.post(f"{self.url}/sns", data=body, headers={"Content-Type": "text/plain"}, timeout=10)

    def eventbridge(self, event: Any, key: str | None = API_KEY) -> requests.Response:
        headers = {} if key is None else {"x-api-key": key.encode()}
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        return requests.post(f"{self.url}/eventbridge", data=body, headers=headers, timeout=10)


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.server.should_exit = True


def s3_event(name: str = "ObjectCreated:Put", bucket: str = "snapshots", **fields: Any) -> dict[str, Any]:
    return {"Records": [{"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {**S3_OBJECT, **fields}}}]}


def bridge_event(kind: str = "Object Created", **fields: Any) -> dict[str, Any]:
    found = {"key": "members/dép 1+2.csv", "version-id": "v1", "etag": "e1", "size": 7, **fields}
    return {"source": "aws.s3", "detail-type": kind, "detail": {"bucket": {"name": "snapshots"}, "object": found}}


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


@pytest.mark.parametrize(
    "fields",
    [
        {"Message": json.dumps(s3_event(key="members/other.csv"))},
        {"TopicArn": TOPIC.replace("objects", "another")},
        {"SignatureVersion": "3"},
        {"Type": "Nonsense"},
        {"Signature": "not base64!"},
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
    with pytest.raises(Forged):
        sns_host(topic)


def test_a_signature_by_another_key_is_refused(service: Service) -> None:
    assert service.sns(Amazon().envelope(s3_event())).status_code == 403
    assert service.events == []


def test_the_certificate_is_fetched_once(service: Service) -> None:
    for _ in range(3):
        service.sns(service.amazon.envelope(s3_event()))
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
    ("status", "told"), [(401, 503), (403, 503), (429, 503), (500, 503), (400, 422), (404, 422), (422, 422)]
)
def test_aws_is_not_asked_to_repeat_what_prefect_never_takes(
    service: Service, caplog: pytest.LogCaptureFixture, status: int, told: int
) -> None:
    service.prefect_answers = status
    assert service.sns(service.amazon.envelope(s3_event())).status_code == told
    assert f"Prefect answered an event with {status}: because\\nof this" in caplog.text
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
    assert "Set RawMessageDelivery of the subscription to false" in caplog.text


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
