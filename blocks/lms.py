"""The LMS account as a Prefect block."""

from typing import Any
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from pydantic import Field, SecretStr, field_validator
from urllib3.util import parse_url

SHORTEST_HASH_KEY = 16
TOO_SHORT = f"must have at least {SHORTEST_HASH_KEY} characters"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def hash_key_problem(key: str) -> str | None:
    """What is wrong with a key for hashed columns, or None."""
    if len(key.strip()) < SHORTEST_HASH_KEY:
        return TOO_SHORT
    try:
        key.encode()
    except UnicodeEncodeError:
        return "must be UTF-8 text"
    return None


class LmsAccount(Block):
    """One administrator account of an Absorb LMS, used only by this pipeline.

    Each sign-in ends the account's previous session, so sharing it with a person or another job would keep signing
    both out.
    """

    _block_type_name = "LMS Account"
    _block_type_slug = "lms-account"
    _description = "An Absorb LMS administrator account and the address of its API."

    rest_api_url: str = Field(title="REST API URL", description="https://rest.myabsorb.com, .ca, .eu, .com.au")
    username: str = Field(min_length=1, description="The administrator's user name.")
    password: SecretStr = Field(min_length=1, description="The administrator's password.")
    private_key: SecretStr = Field(min_length=1, description="The portal's private API key.")
    hash_key: SecretStr | None = Field(default=None, description="The key for hashed columns: at least 16 characters.")
    page_size: int = Field(default=1000, ge=1, le=1000, description="Members per page.")
    max_connections: int = Field(default=8, ge=1, le=64, description="Pages read concurrently.")

    @field_validator("rest_api_url")
    @classmethod
    def _https_or_loopback(cls, url: str) -> str:
        try:
            # `port` is only read when asked for, and raises ValueError unless it is a number; parse_url is how urllib3,
            # which makes the connections, reads an address
            parts = urlsplit(url)
            well_formed = parts.port != 0 and parse_url(url).host is not None and not any(c <= " " for c in url)
        except ValueError:  # a port that is none, brackets left open; urllib3's error is one too
            well_formed = False
        if not well_formed or parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
            raise ValueError("is not an address like https://rest.myabsorb.com")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ValueError("must begin with https://")
        return url.rstrip("/")

    @field_validator("private_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr) -> SecretStr:
        # http.client would refuse such a header too, but only once there is a request
        if any(ord(c) < 32 or ord(c) == 127 for c in key.get_secret_value()):
            raise ValueError("contains a line break or another control character")
        if key.get_secret_value() != key.get_secret_value().strip():
            raise ValueError("begins or ends with whitespace")
        return key

    @field_validator("hash_key")
    @classmethod
    def _is_long(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and (problem := hash_key_problem(key.get_secret_value())):
            raise ValueError(problem)
        return key

    def __repr_args__(self) -> Any:
        yield from {"rest_api_url": self.rest_api_url, "username": self.username}.items()
