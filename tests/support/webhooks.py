"""The webhook service on a port, and what AWS would post to it."""

import base64
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import requests
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sandbox.postgres import free_port
from webhooks.objects import SnapshotFilter
from webhooks.outbound import NEVER, Refused
from webhooks.service import Settings, create_app
from webhooks.sns import Envelope

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
        settings = Settings(SnapshotFilter("snapshots", ("members/",)), frozenset({TOPIC}), API_KEY)
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
            if self.prefect_answers in NEVER:
                raise Refused([(event, self.prefect_answers, "because\nof this") for event in events])
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


def s3_event(name: str = "ObjectCreated:Put", bucket: str = "snapshots", **fields: Any) -> dict[str, Any]:
    return {"Records": [{"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {**S3_OBJECT, **fields}}}]}


def bridge_event(kind: str = "Object Created", **fields: Any) -> dict[str, Any]:
    found = {"key": "members/dép 1+2.csv", "version-id": "v1", "etag": "e1", "size": 7, **fields}
    return {"source": "aws.s3", "detail-type": kind, "detail": {"bucket": {"name": "snapshots"}, "object": found}}
