"""S3 notifications, from SNS or EventBridge, as one kind of object, and the Prefect event for each."""

import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from tasks.s3 import REJECTS

EVENT = "s3.object.created"
# fixed for ever: with another, a delivery that is repeated would get a new id and start a second run
_NAMESPACE = uuid.UUID("6f1d3ea4-6a52-5c0e-9d1b-3a6b1f0a5b7e")


@dataclass(frozen=True)
class CreatedObject:
    """An object that S3 says was created: the fields that a trigger's parameters may name (null if S3 sends none).

    `sequencer` is not one of them: it only distinguishes this creation from others of the same key.
    """

    bucket: str
    key: str
    version_id: str | None
    etag: str | None
    size: int | None
    sequencer: str | None = None

    @property
    def uri(self) -> str:
        """s3://bucket/key."""
        return f"s3://{self.bucket}/{self.key}"

    def event(self) -> dict[str, Any]:
        """Prefect's event. A repeated delivery has the same id, so it starts nothing; a new publication has its own."""
        payload = asdict(self)
        del payload["sequencer"]
        return {
            "id": str(uuid.uuid5(_NAMESPACE, "\n".join(self.identity()))),
            "occurred": datetime.now(UTC).isoformat(),
            "event": EVENT,
            "resource": {"prefect.resource.id": self.uri, "prefect.resource.name": self.key},
            "payload": payload,
        }

    def identity(self) -> tuple[str, ...]:
        """What distinguishes this creation: its version id, or its sequencer in a bucket that keeps no versions.

        There a key may return to an earlier content, and so to an earlier ETag ("null" is the id of no version).
        """
        if self.version_id in (None, "", "null"):
            return (self.bucket, self.key, "", self.etag or "", self.sequencer or "")
        return (self.bucket, self.key, str(self.version_id), self.etag or "")


@dataclass(frozen=True)
class SnapshotFilter:
    """The objects that matter: those of one bucket under the streams' prefixes, reject files excepted."""

    bucket: str
    prefixes: tuple[str, ...]

    def wants(self, found: CreatedObject) -> bool:
        """Whether that object is a snapshot."""
        is_folder = found.key.endswith("/")  # which S3's console makes as an empty object
        ours = found.bucket == self.bucket and found.key.startswith(self.prefixes)
        return ours and REJECTS not in found.key and not is_folder


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str
    version_id: str | None = Field(None, validation_alias=AliasChoices("versionId", "version-id"))
    etag: str | None = Field(None, validation_alias=AliasChoices("eTag", "etag"))
    size: int | None = None
    sequencer: str | None = None


class _S3Notification(BaseModel):
    """What both formats say about an object; SNS's spelling first, then EventBridge's."""

    bucket: _Bucket
    object: _Object

    def created(self, key: str, time: str | None) -> CreatedObject:
        """The object, under its decoded key; S3-like stores that send no sequencer still send the time."""
        found = self.object
        sequencer = found.sequencer or time
        return CreatedObject(self.bucket.name, key, found.version_id, found.etag, found.size, sequencer)


class _Record(BaseModel):
    eventName: str
    eventTime: str | None = None
    s3: _S3Notification


class _Notification(BaseModel):
    """S3's own message, https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""

    Records: list[Any]


class _Event(BaseModel):
    """EventBridge's, https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html"""

    time: str | None = None
    detail: _S3Notification


def created_objects(message: Any) -> tuple[list[CreatedObject], int]:
    """The objects that a message says were created, and the number of malformed records in it.

    A test event, a deletion or another service's event has none.

    Raises:
        pydantic.ValidationError: the message claims to be from S3 but does not have its format.
    """
    if not isinstance(message, dict):
        return [], 0
    if "Records" in message:
        found, malformed = [], 0
        for entry in _Notification.model_validate(message).Records:
            try:
                record = _Record.model_validate(entry)
            except ValidationError:  # the other records still become events
                malformed += 1
                continue
            if record.eventName.removeprefix("s3:").startswith("ObjectCreated:"):
                # S3's own messages encode the key as a form does, + for a space
                found.append(record.s3.created(unquote_plus(record.s3.object.key), record.eventTime))
        return found, malformed
    if message.get("source") == "aws.s3" and message.get("detail-type") == "Object Created":
        event = _Event.model_validate(message)
        return [event.detail.created(event.detail.object.key, event.time)], 0  # EventBridge does not encode the key
    return [], 0
