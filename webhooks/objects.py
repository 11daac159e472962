"""What S3 tells, by SNS or by EventBridge, as one kind of object; and the Prefect event of each."""

import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from pydantic import BaseModel, Field

EVENT = "s3.object.created"
_NAMESPACE = uuid.UUID("6f1d3ea4-6a52-5c0e-9d1b-3a6b1f0a5b7e")


@dataclass(frozen=True)
class CreatedObject:
    """An object that S3 says was created; the fields that a trigger's parameters may name, null where S3 gives none."""

    bucket: str
    key: str
    version_id: str | None
    etag: str | None
    size: int | None

    @property
    def uri(self) -> str:
        """s3://bucket/key."""
        return f"s3://{self.bucket}/{self.key}"

    def event(self) -> dict[str, Any]:
        """Prefect's event. Its id is the object's own, so a delivery that comes again starts nothing."""
        identity = "\n".join((self.bucket, self.key, self.version_id or "", self.etag or ""))
        return {
            "id": str(uuid.uuid5(_NAMESPACE, identity)),
            "occurred": datetime.now(UTC).isoformat(),
            "event": EVENT,
            "resource": {"prefect.resource.id": self.uri, "prefect.resource.name": self.key},
            "payload": asdict(self),
        }


@dataclass(frozen=True)
class Watched:
    """The objects that matter: those of one bucket under one prefix, reject files excepted."""

    bucket: str
    prefix: str

    def wants(self, found: CreatedObject) -> bool:
        """Whether that object is a snapshot."""
        return found.bucket == self.bucket and found.key.startswith(self.prefix) and ".rejected/" not in found.key


class _Named(BaseModel):
    name: str


class _Object(BaseModel):
    key: str
    versionId: str | None = None
    eTag: str | None = None
    size: int | None = None


class _S3(BaseModel):
    bucket: _Named
    object: _Object


class _Record(BaseModel):
    eventName: str
    s3: _S3


class _Notification(BaseModel):
    """S3's own message, https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""

    Records: list[_Record]


class _EventObject(BaseModel):
    key: str
    version_id: str | None = Field(None, alias="version-id")
    etag: str | None = None
    size: int | None = None


class _Detail(BaseModel):
    bucket: _Named
    object: _EventObject


class _Event(BaseModel):
    """EventBridge's, https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html"""

    detail: _Detail


def created_objects(message: Any) -> list[CreatedObject]:
    """The objects that a message says were created: none in a test event, a deletion or another service's.

    Raises:
        pydantic.ValidationError: the message says that it is S3's, and is not formed so.
    """
    if not isinstance(message, dict):
        return []
    if "Records" in message:
        records = _Notification.model_validate(message).Records
        return [
            CreatedObject(
                record.s3.bucket.name,
                unquote_plus(record.s3.object.key),
                record.s3.object.versionId,
                record.s3.object.eTag,
                record.s3.object.size,
            )
            for record in records
            if record.eventName.removeprefix("s3:").startswith("ObjectCreated:")
        ]
    if message.get("source") == "aws.s3" and message.get("detail-type") == "Object Created":
        detail = _Event.model_validate(message).detail
        found = detail.object  # EventBridge does not encode the key
        return [CreatedObject(detail.bucket.name, found.key, found.version_id, found.etag, found.size)]
    return []
