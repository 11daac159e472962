"""SNS's messages over HTTP: from the topics we know, with Amazon's signature, or refused.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import BaseModel

Fetch = Callable[[str], Awaitable[bytes]]
"""Reads an address of Amazon's; raises OSError where it cannot."""

_AMAZON = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - SNS's version 1


class Forged(Exception):
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
        self._keys: dict[str, rsa.RSAPublicKey] = {}

    async def verify(self, envelope: Envelope) -> None:
        """Return if the message is Amazon's and of a topic of ours.

        Raises:
            Forged: it is not.
            OSError: its certificate could not be fetched.
        """
        if envelope.TopicArn not in self._topics:
            raise Forged("a topic that is not among WEBHOOK_TOPIC_ARNS")
        if envelope.Type not in _SIGNED or envelope.SignatureVersion not in _HASHES:
            raise Forged("a type or a signature version that SNS does not have")
        key = await self._key(envelope.SigningCertURL)
        try:
            signature = base64.b64decode(envelope.Signature, validate=True)
            key.verify(signature, envelope.signed_text(), padding.PKCS1v15(), _HASHES[envelope.SignatureVersion])
        except (InvalidSignature, binascii.Error):
            raise Forged("a signature that is not Amazon's") from None

    async def confirm(self, envelope: Envelope) -> None:
        """Take up the subscription that a verified message offers."""
        await self._fetch(amazon(envelope.SubscribeURL or ""))

    async def _key(self, url: str) -> rsa.RSAPublicKey:
        if url not in self._keys:
            certificate = await self._fetch(amazon(url))
            try:
                key = x509.load_pem_x509_certificate(certificate).public_key()
            except ValueError:
                raise Forged("a certificate that is none") from None
            if not isinstance(key, rsa.RSAPublicKey):
                raise Forged("a certificate of another kind than SNS's")
            self._keys = {**dict(list(self._keys.items())[-9:]), url: key}  # Amazon changes it rarely
        return self._keys[url]


def amazon(url: str) -> str:
    """The address, if it is one of SNS's own; else Forged."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not _AMAZON.fullmatch(parts.netloc):
        raise Forged("an address that is not Amazon's")
    return url
