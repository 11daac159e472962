"""One page of members: asked for, mended, on disk; and what the proof of completeness needs of it."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tasks.columns import SECRET_KEYS, snake_case
from tasks.errors import IncompleteSnapshot
from tasks.files import create_private
from tasks.lms import LmsSession


@dataclass(frozen=True)
class Page:
    """What the proof needs of one page; its members lie on disk."""

    index: int
    total: int
    limit: int | None
    rows: int
    fingerprints: bytes
    foreign_rows: int
    mended_characters: int


class Disagreement(Exception):
    """The pages of one sweep contradict each other: people joined, left or were renamed meanwhile."""


class _Member(msgspec.Struct):
    id: str
    departmentId: str | None = None


class _Envelope(msgspec.Struct):
    users: list[_Member] | None = None
    totalItems: int | None = None
    returnedItems: int | None = None
    limit: int | None = None


def read_page(session: LmsSession, department_id: str, index: int, limit: int, folder: Path) -> Page:
    """One page lies on disk, without secrets and with only real characters; what the proof needs of it."""
    where = f"department {department_id}, page {index}"
    params = {"_filter": f"departmentId eq guid'{department_id}'", "_limit": limit, "_offset": index}
    mended, body, envelope = session.get("/users", params, decode_page, where)
    if envelope.users is None or envelope.totalItems is None:
        absent = "list `users`" if envelope.users is None else "`totalItems`"
        raise IncompleteSnapshot(
            f"{where}: expected an envelope with `users` and `totalItems`, found one without the {absent}. "
            "Nothing was published: without it no snapshot can be proved complete."
        )
    with create_private(page_file(folder, index)) as file:
        file.write(body)
    if envelope.returnedItems not in (None, len(envelope.users)):
        raise Disagreement(f"page {index} says {envelope.returnedItems} members and holds {len(envelope.users)}")
    return Page(
        index=index,
        total=envelope.totalItems,
        limit=envelope.limit,
        rows=len(envelope.users),
        fingerprints=b"".join(fingerprint(member.id) for member in envelope.users),
        foreign_rows=sum((member.departmentId or "").lower() != department_id for member in envelope.users),
        mended_characters=mended,
    )


def decode_page(body: bytes) -> tuple[int, bytes, _Envelope]:
    """How many characters were mended, the page as it may lie on disk, and its envelope.

    A page:

        {"totalItems": 7, "returnedItems": 3, "limit": 3, "offset": 0, "users": [{"id": "0f6f…", …}, …]}
    """
    body, mended = mend_surrogates(body)
    if b'"password"' in body.lower():
        body = without_secrets(body)
    try:
        return mended, body, _decoder.decode(body)
    except msgspec.ValidationError as error:  # whole JSON of another shape: no other try betters it
        raise IncompleteSnapshot(
            f"GET /users: expected an envelope of users that each have an `id`, found otherwise ({error}). "
            "Nothing was published."
        ) from None


def mend_surrogates(body: bytes) -> tuple[bytes, int]:
    """Lone surrogate escapes, which are no characters, become U+FFFD; and how many there were."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return body, 0
    mended = 0

    def mend(escape: re.Match[bytes]) -> bytes:
        nonlocal mended
        if escape["lone"] is None:
            return escape[0]
        mended += 1
        return b"\\ufffd"

    return _ESCAPE.sub(mend, body), mended


def without_secrets(body: bytes) -> bytes:
    """The page without any `password`; every other value stays byte for byte."""
    envelope = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    users = msgspec.json.decode(envelope.get("users", b"null"), type=list[dict[str, msgspec.Raw]] | None)
    for user in users or []:
        for key in [key for key in user if snake_case(key) in SECRET_KEYS]:
            del user[key]
    return msgspec.json.encode({**envelope, "users": users})


def fingerprint(member_id: str) -> bytes:
    """16 bytes that stand for one id, whatever its letter case."""
    return hashlib.blake2b(member_id.lower().encode(), digest_size=16).digest()


def page_file(folder: Path, index: int) -> Path:
    """The file of one 0-based page."""
    return folder / f"page-{index:05d}.json"


_decoder = msgspec.json.Decoder(_Envelope)
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: one character
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\."  # any other escape, so that an escaped backslash is not taken for the start of one
)
