"""What S3 tells, by SNS or by EventBridge, as one kind of object; and the Prefect event of each."""

import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from pydantic import AliasChoices, BaseModel, Field

from tasks.s3 import REJECTS

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
        return found.bucket == self.bucket and found.key.startswith(self.prefix) and REJECTS not in found.key


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str
    version_id: str | None = Field(None, validation_alias=AliasChoices("versionId", "version-id"))
    etag: str | None = Field(None, validation_alias=AliasChoices("eTag", "etag"))
    size: int | None = None


class _Told(BaseModel):
    """What both say of an object; SNS's spelling first, then EventBridge's."""

    bucket: _Bucket
    object: _Object

    def created(self, key: str) -> CreatedObject:
        """The object, under its decoded key."""
        return CreatedObject(self.bucket.name, key, self.object.version_id, self.object.etag, self.object.size)


class _Record(BaseModel):
    eventName: str
    s3: _Told


class _Notification(BaseModel):
    """S3's own message, https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""

    Records: list[_Record]


class _Event(BaseModel):
    """EventBridge's, https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html"""

    detail: _Told


def created_objects(message: Any) -> list[CreatedObject]:
    """The objects that a message says were created: none in a test event, a deletion or another service's.

    Raises:
        pydantic.ValidationError: the message says that it is S3's, and is not formed so.
    """
    if not isinstance(message, dict):
        return []
    if "Records" in message:
        return [
            record.s3.created(unquote_plus(record.s3.object.key))
            for record in _Notification.model_validate(message).Records
            if record.eventName.removeprefix("s3:").startswith("ObjectCreated:")
        ]
    if message.get("source") == "aws.s3" and message.get("detail-type") == "Object Created":
        detail = _Event.model_validate(message).detail
        return [detail.created(detail.object.key)]  # EventBridge does not encode the key
    return []
