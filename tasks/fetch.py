"""Every member of one department, proved complete, as raw pages on disk."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from prefect import task

from blocks.resolve import lms_account
from tasks.columns import SECRET_KEYS, snake_case
from tasks.errors import IncompleteSnapshot
from tasks.files import create_private
from tasks.lms import LmsSession
from tasks.log import run_logger
from tasks.policy import IN_MEMORY

MAX_SWEEPS = 3
PROGRESS_EVERY_S = 5.0


@dataclass(frozen=True)
class RawSnapshot:
    """One department's pages, proved complete: `pages` files page-00000.json … in `folder`."""

    folder: Path
    department_id: str
    snapshot_at: datetime
    pages: int
    rows: int
    subdepartment_rows: int
    mended_characters: int
    sweeps: int
    sign_ins: int
    retries: int
    seconds: float

    def files(self) -> Iterator[Path]:
        """The page files, in order."""
        return (page_file(self.folder, index) for index in range(self.pages))


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


@task(name="authenticate", **IN_MEMORY)
def authenticate(blocks: str | None) -> LmsSession:
    """The run's one session with the LMS is signed in.

    The client retries what a retry can help, so the task does not: a second layer would multiply
    the tries, and a wrong password must be tried once.

    Args:
        blocks: the block set that holds the account; None for the environment.

    Raises:
        AuthError, LmsUnavailable, ConfigError: see `LmsSession.sign_in`.
    """
    session = LmsSession(lms_account(blocks))
    session.sign_in()
    return session


@task(name="fetch-members", **IN_MEMORY)
def fetch_members(
    session: LmsSession, department_id: str, folder: Path, *, include_subdepartments: bool = False
) -> RawSnapshot:
    """Every current member of one department lies in `folder`, proved complete, or nothing is claimed.

    Reads total // page size + 1 pages concurrently (0-based page number, not row offset), one JSON
    file a page; holds at most `max_connections` pages in memory. Proved means: every page had the
    same total, no page was short, the distinct ids are as many as the total, and every row belongs
    to the department. Where the pages disagree, the whole sweep is repeated, three times at most.

    Not retried by Prefect: the session retries each page, and a second layer would repeat them all.

    Raises:
        IncompleteSnapshot: still no proof. Nothing published; run again.
        AuthError, LmsUnavailable, ConfigError: see `LmsSession.get`.

    Source: docs.myabsorb.com, integration API, "Pagination": `_offset` is a page number.
    """
    began = time.monotonic()
    session.log = run_logger()
    snapshot_at = datetime.now(UTC)
    for sweep in range(1, MAX_SWEEPS + 1):
        try:
            pages = sweep_pages(session, department_id, folder)
            rows = prove_complete(pages, department_id, include_subdepartments=include_subdepartments)
            break
        except Disagreement as disagreement:
            if sweep == MAX_SWEEPS:
                raise IncompleteSnapshot(
                    f"department {department_id}: {disagreement}, in each of {MAX_SWEEPS} sweeps. "
                    "Nothing was published; run again when fewer changes are being made."
                ) from None
            session.log.warning("department %s: %s; reading all pages again", department_id, disagreement)
            snapshot_at = datetime.now(UTC)
    return RawSnapshot(
        folder=folder,
        department_id=department_id,
        snapshot_at=snapshot_at,
        pages=len(pages),
        rows=rows,
        subdepartment_rows=sum(page.foreign_rows for page in pages),
        mended_characters=sum(page.mended_characters for page in pages),
        sweeps=sweep,
        sign_ins=session.sign_ins,
        retries=session.retries,
        seconds=time.monotonic() - began,
    )


def sweep_pages(session: LmsSession, department_id: str, folder: Path) -> list[Page]:
    """Read every page once; the first tells how many there are."""
    limit = session.account.page_size

    def read(index: int) -> Page:
        return read_page(session, department_id, index, limit, folder)

    first = read(0)
    if first.limit is not None and first.limit < limit:  # the server says that it caps the page: follow
        limit = first.limit
    if first.rows < min(limit, first.total):
        raise IncompleteSnapshot(
            f"department {department_id}, page 0: expected {min(limit, first.total)} of {first.total} members, "
            f"found {first.rows}; the LMS caps its pages without saying so. Set LMS_PAGE_SIZE to {first.rows} or less."
        )
    count = first.total // limit + 1  # behind a last page that is full lies one more, which must be empty
    session.log.info("department %s has %d members in %d pages", department_id, first.total, count)
    return [first, *read_concurrently(read, count, session)]


def read_concurrently(read: Callable[[int], Page], count: int, session: LmsSession) -> list[Page]:
    """Pages 1 to count - 1, in order, at most `max_connections` at once; the first error ends all."""
    told = time.monotonic()
    with ThreadPoolExecutor(session.account.max_connections, "page") as pool:
        futures = [pool.submit(read, index) for index in range(1, count)]
        try:
            for done, future in enumerate(as_completed(futures), start=2):
                future.result()
                if time.monotonic() - told >= PROGRESS_EVERY_S:
                    told = time.monotonic()
                    session.log.info("read %d of %d pages", done, count)
        except BaseException:
            session.stop.set()  # no thread sleeps on before its next try
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


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


def prove_complete(pages: list[Page], department_id: str, *, include_subdepartments: bool) -> int:
    """The number of members, if the pages prove that they are all of them.

    Raises:
        Disagreement: they do not; another sweep may.
    """
    totals = sorted({page.total for page in pages if page.rows or page.index == 0})
    if len(totals) > 1:
        raise Disagreement(f"expected one total on every page, found {totals[0]} to {totals[-1]}")
    fingerprints = np.frombuffer(b"".join(page.fingerprints for page in pages), dtype="V16")
    distinct, rows = len(np.unique(fingerprints)), len(fingerprints)
    if not distinct == rows == totals[0]:
        raise Disagreement(f"expected {totals[0]} distinct ids, found {distinct} in {rows} rows")
    foreign = sum(page.foreign_rows for page in pages)
    if foreign and not include_subdepartments:
        raise Disagreement(
            f"expected members of this department alone, found {foreign} of other departments "
            "(include_subdepartments takes them in)"
        )
    return rows


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
