"""SNS's messages over HTTP: from the topics we know, with Amazon's signature, or refused.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import asyncio
import base64
import re
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from botocore.loaders import create_loader
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import BaseModel

Fetch = Callable[[str], Coroutine[Any, Any, bytes]]
"""Reads an address of Amazon's; raises OSError where it cannot."""

MOST_FETCHES = 4
"""How many certificates are fetched concurrently. Each region has one; a sender that names many is forging them."""
KEPT, MISSES_KEPT = 10, 100
MISS_KEPT_S = 60.0
"""How long to wait before a certificate that could not be fetched is requested again."""
OLDEST = timedelta(hours=24)
"""SNS retries HTTP delivery for an hour; a much older message has been kept and replayed by somebody."""
_ARN = re.compile(r"arn:(?P<partition>[a-z-]+):sns:(?P<region>[a-z0-9-]+):\d{12}:[\w-]+(\.fifo)?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-f]{1,64}\.pem")
# The fields that Amazon signs, in its order: by their names.
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - SNS's version 1


class NotFromAmazon(Exception):
    """The message is not one that Amazon signed for a topic of ours."""


class Envelope(BaseModel):
    """A message as SNS posts it."""

    Type: str
    MessageId: str
    TopicArn: str
    Message: str
    Timestamp: str
    SignatureVersion: str
    Signature: str
    SigningCertURL: str
    Subject: str | None = None
    SubscribeURL: str | None = None
    Token: str | None = None

    def signed_text(self) -> bytes:
        """What the signature is of: each field's name and value on a line of its own."""
        fields = [(name, getattr(self, name)) for name in _SIGNED[self.Type]]
        # SNS leaves Subject out where a message has none
        return "".join(f"{name}\n{value}\n" for name, value in fields if value is not None).encode()


class Verifier:
    """Checks signatures, by certificates fetched from Amazon's hosts alone and kept.

    Args:
        topics: the ARNs of the topics whose messages are taken.
        fetch: reads a certificate; the seam for tests and stand-ins.
    """

    def __init__(self, topics: frozenset[str], fetch: Fetch) -> None:
        self._topics = topics
        self._fetch = fetch
        self._certificates: dict[str, x509.Certificate] = {}
        self._reading: dict[str, asyncio.Task[bytes]] = {}
        self._missed: dict[str, float] = {}

    async def verify(self, envelope: Envelope) -> None:
        """Return if the message is Amazon's and of a topic of ours.

        Raises:
            NotFromAmazon: it is not.
            OSError: its certificate could not be fetched.
        """
        if envelope.TopicArn not in self._topics:
            raise NotFromAmazon("a topic that is not among WEBHOOK_TOPIC_ARNS")
        if envelope.Type not in _SIGNED or envelope.SignatureVersion not in _HASHES:
            raise NotFromAmazon("an unknown message type or signature version")
        check_age(envelope.Timestamp)
        key = await self._key(envelope)
        try:
            signature = base64.b64decode(envelope.Signature, validate=True)
            key.verify(signature, envelope.signed_text(), padding.PKCS1v15(), _HASHES[envelope.SignatureVersion])
        except (InvalidSignature, ValueError):  # of base64, or of text that is none
            raise NotFromAmazon("a signature that is not Amazon's") from None

    async def confirm(self, envelope: Envelope) -> None:
        """Confirm the subscription offered in a verified message."""
        url, address = envelope.SubscribeURL or "", f"https://{sns_host(envelope.TopicArn)}/?"
        if not url.startswith(address):
            raise NotFromAmazon("a confirmation address that is not SNS's")
        if parse_qs(url.removeprefix(address)).get("Action") != ["ConfirmSubscription"] or "#" in url:
            raise NotFromAmazon("a confirmation address with a different action")
        await self._fetch(url)

    async def _key(self, envelope: Envelope) -> rsa.RSAPublicKey:
        """The key of the message's certificate, which is read once and then kept."""
        host, url = sns_host(envelope.TopicArn), envelope.SigningCertURL
        path = url.removeprefix(f"https://{host}")
        if path == url or not _CERTIFICATE.fullmatch(path):
            raise NotFromAmazon("a certificate address that is not SNS's for this topic")
        if url not in self._certificates:
            try:
                certificate = x509.load_pem_x509_certificate(await self._read(url))
            except ValueError:
                raise NotFromAmazon("an unreadable certificate") from None
            self._certificates = {**dict(list(self._certificates.items())[1 - KEPT :]), url: certificate}
        return checked_key(self._certificates[url], host)

    async def _read(self, url: str) -> bytes:
        """A certificate as Amazon has it: fetched once for all requests that wait for it, and few at a time.

        Raises:
            OSError: it could not be read, a minute ago at most; or too many others are being read.
        """
        now = time.monotonic()
        if now - self._missed.get(url, -MISS_KEPT_S) < MISS_KEPT_S:
            raise OSError("its certificate could not be fetched within the last minute")
        if url not in self._reading:
            if len(self._reading) >= MOST_FETCHES:
                raise OSError("too many certificates are being fetched")
            self._reading[url] = asyncio.ensure_future(self._fetch(url))
            self._reading[url].add_done_callback(lambda _: self._reading.pop(url, None))
        try:
            # a caller that gives up must not cancel the fetch that others wait for
            return await asyncio.shield(self._reading[url])
        except OSError:
            self._missed = {**dict(list(self._missed.items())[1 - MISSES_KEPT :]), url: now}
            raise


def sns_host(topic_arn: str) -> str:
    """The SNS host in the topic's region and partition, which signs the topic's messages.

    >>> sns_host("arn:aws-eusc:sns:eusc-de-east-1:123456789012:objects")
    'sns.eusc-de-east-1.amazonaws.eu'

    Raises:
        NotFromAmazon: that is no topic's ARN, or of no partition that there is.
    """
    found = _ARN.fullmatch(topic_arn)
    if found is None or found["partition"] not in partitions():
        raise NotFromAmazon("a topic that is in no AWS partition")
    return f"sns.{found['region']}.{partitions()[found['partition']]}"


@cache
def partitions() -> dict[str, str]:
    """Each of AWS's partitions, and the domain that its services' hosts end in."""
    known = create_loader().load_data("partitions")["partitions"]
    return {partition["id"]: partition["outputs"]["dnsSuffix"] for partition in known}


def checked_key(certificate: x509.Certificate, host: str) -> rsa.RSAPublicKey:
    """The key of a certificate that is SNS's and valid now.

    It was read over TLS from SNS's own host, so its issuer need not be followed up to Amazon.

    Raises:
        NotFromAmazon: it is for another name, of another time or kind.
    """
    names = {name.value for name in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
    # the certificate names the regional host, or sns.amazonaws.com without a region
    if not names & {host, f"sns.{host.split('.', 2)[2]}"}:
        raise NotFromAmazon("a certificate for a name other than SNS's")
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise NotFromAmazon("a certificate that is not valid now")
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotFromAmazon("a certificate without an RSA key")
    return key


def check_age(timestamp: str) -> None:
    """Raise NotFromAmazon for a message that is older than 24 hours, or as far in the future."""
    try:
        sent = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        raise NotFromAmazon("a timestamp that is not in SNS's format") from None
    if abs(datetime.now(UTC) - sent) > OLDEST:
        raise NotFromAmazon("a timestamp more than 24 hours in the past or future")
