"""Download every item of one scope (for example, every member of a department) to disk and verify completeness."""

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from prefect import task

from tasks.credentials import lms_account
from tasks.errors import IncompleteSnapshot
from tasks.extract.decode import PageDecoder
from tasks.extract.pages import Disagreement, NotAPage, Page, keep_page, page_file, read_page
from tasks.extract.retry import jitter
from tasks.extract.session import LmsSession
from tasks.log import run_logger
from tasks.progress import progress
from tasks.snapshot_ids import SnapshotIds, distinct_ids
from tasks.streams import Scope, Stream
from tasks.task_options import IN_MEMORY, ONCE

MAX_SWEEPS = 3
MAX_PAGES = 65_536
"""The API's `_offset` ends at 65535."""
MAX_ITEMS = 5_000_000
"""The most that can be verified within 600 MB of memory."""


@dataclass(frozen=True)
class RawSnapshot:
    """One scope's pages, verified complete: `pages` Arrow files page-00000.arrow … in `folder`.

    `keys` are the LMS's, sorted; each is a column of text in the pages that sent it.
    """

    folder: Path
    scope: Scope
    snapshot_at: datetime
    pages: int
    rows: int
    keys: tuple[str, ...]
    foreign_rows: int
    """Of other scopes, where such are taken in."""
    replaced_characters: int
    sweeps: int
    sign_ins: int
    retries: int
    seconds: float
    ids: SnapshotIds = field(repr=False)
    """The ids that the pages hold, also those of scopes that the run reads by themselves."""

    def files(self) -> Iterator[Path]:
        """The page files, in order."""
        return (page_file(self.folder, index) for index in range(self.pages))


@task(name="authenticate", **IN_MEMORY, **ONCE)
def authenticate(blocks: str | None) -> LmsSession:
    """Sign in to the LMS for this run.

    The client retries temporary faults, so the task does not: a second layer would multiply the tries, and a wrong
    password must be tried only once.

    Args:
        blocks: the block set that holds the account; None for the environment.

    Raises:
        AuthError, LmsUnavailable, ConfigError: see `LmsSession.sign_in`.
    """
    session = LmsSession(lms_account(blocks))
    session.sign_in()
    return session


@task(name="fetch-pages", task_run_name="fetch-pages {scope.label}", **IN_MEMORY, **ONCE)
def fetch_pages(
    session: LmsSession,
    scope: Scope,
    folder: Path,
    *,
    include_foreign: bool = False,
    others: frozenset[str] = frozenset(),
) -> RawSnapshot:
    """Download every item of one scope into `folder` and verify that the list is complete.

    Reads total // page size + 1 pages concurrently (0-based page number, not row offset), one Arrow file per page.
    Holds at most `max_connections` bodies in memory and decodes one at a time. Complete means: every page had the same
    total, no page was short, the number of distinct ids equals the total, and every row belongs to the scope. If the
    pages disagree, reads all of them again, at most three times in total.

    Args:
        include_foreign: keep rows of other scopes; the LMS may return those of departments below.
        others: ids of scopes that the same run reads separately; their rows are left out.

    Not retried by Prefect: the session retries each page, and a second layer would repeat them all.

    Raises:
        IncompleteSnapshot: the pages still disagree. Nothing was published; run again.
        AuthError, LmsUnavailable, ConfigError: see `LmsSession.get`.

    Source: docs.myabsorb.com, integration API, "Pagination": `_offset` is a page number.
    """
    began = time.monotonic()
    session.begin(run_logger())
    # before the first request, and again for each sweep: nothing in the snapshot is older
    snapshot_at = datetime.now(UTC)
    for sweep in range(1, MAX_SWEEPS + 1):
        try:
            with frozen_heap():
                pages = sweep_pages(session, scope, folder, others)
            ids = verify_complete(pages, scope, include_foreign=include_foreign)
            break
        except Disagreement as disagreement:
            if sweep == MAX_SWEEPS and isinstance(disagreement, NotAPage):
                raise disagreement.error from None
            if sweep == MAX_SWEEPS:
                raise IncompleteSnapshot(
                    f"{scope}: {disagreement}, on the last of {MAX_SWEEPS} attempts. Nothing was published; run again "
                    "when fewer changes are being made."
                ) from None
            session.log.warning("%s: %s; reading all its pages again", scope, disagreement)
            if isinstance(disagreement, NotAPage):
                # a proxy's error page comes at once: without a pause, all sweeps would meet the same one
                session.stop.wait(jitter(0.5, 2.0))
            snapshot_at = datetime.now(UTC)
    return RawSnapshot(
        folder=folder,
        scope=scope,
        snapshot_at=snapshot_at,
        pages=len(pages),
        rows=len(ids) - sum(page.left_out for page in pages),
        keys=tuple(sorted(chain.from_iterable(page.keys for page in pages))),
        foreign_rows=sum(page.foreign_rows for page in pages),
        replaced_characters=sum(page.replaced_characters for page in pages),
        sweeps=sweep,
        sign_ins=session.sign_ins,
        retries=session.retries,
        seconds=time.monotonic() - began,
        ids=ids,
    )


@contextmanager
def frozen_heap() -> Iterator[None]:
    """What Prefect and its imports hold is left out of garbage collection, which pages set off again and again."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def sweep_pages(session: LmsSession, scope: Scope, folder: Path, others: frozenset[str]) -> list[Page]:
    """Read every page once; the first says how many there are.

    Bodies arrive in many threads and are decoded in one: threads decode no faster together, and
    one page's objects are in memory, not eight.
    """
    limit = session.account.page_size
    decoder = PageDecoder(scope.stream)
    with ThreadPoolExecutor(1, "decode") as decoding:

        def read(index: int) -> Page:
            def keep(body: bytes) -> Page:
                return decoding.submit(keep_page, body, decoder, folder, scope, index, others).result()

            return read_page(session, scope, index, limit, keep)

        first = read(0)
        # follow a cap only if it is announced; one that is not is refused below
        if first.limit is not None and 1 <= first.limit < limit:  # the server says that it caps the page: follow
            limit = first.limit
        check_bounds(first.total, limit, scope.stream)
        check_not_empty(first, first.total, limit, scope.stream)
        if first.rows < min(limit, first.total):
            raise IncompleteSnapshot(
                f"{scope}, page 0: expected {min(limit, first.total)} of {first.total} {scope.stream.item_noun}, "
                f"found {first.rows}; the LMS limits the page size without saying so. Set LMS_PAGE_SIZE to "
                f"{first.rows} or less."
            )
        session.log.info("%s has %d %s", scope, first.total, scope.stream.item_noun)
        return read_concurrently(read, first, limit, session, scope.stream)


def check_bounds(total: int, limit: int, stream: Stream) -> None:
    """Raise Disagreement for a total that cannot be: less than none, more items or pages than can be read."""
    pages = total // limit + 1
    if not 0 <= total <= MAX_ITEMS or pages > MAX_PAGES:
        raise Disagreement(
            f"expected a total of at most {MAX_ITEMS:,} {stream.item_noun} in {MAX_PAGES:,} pages, found {total:,} in "
            f"{pages:,} (a higher LMS_PAGE_SIZE means fewer pages)"
        )


def check_not_empty(page: Page, total: int, limit: int, stream: Stream) -> None:
    """Raise Disagreement for an empty page before the end: no page behind it need be asked for."""
    if page.rows == 0 and page.index * limit < total:
        raise Disagreement(f"expected {total:,} {stream.item_noun}, but page {page.index} is empty")


def read_concurrently(
    read: Callable[[int], Page], first: Page, limit: int, session: LmsSession, stream: Stream
) -> list[Page]:
    """Every page, in order, at most `max_connections` at once; the first error or empty page ends all."""
    count = first.total // limit + 1  # a full last page is followed by one more, which must be empty
    indexes = iter(range(1, count))
    pages, reading = [first], set[Future[Page]]()
    with (
        progress("reading pages", count, session.log) as advance,
        ThreadPoolExecutor(session.account.max_connections, "page") as pool,
    ):
        try:
            while len(pages) < count:
                # twice the threads, so that none waits for work; not all at once, since a false total may be millions
                more = islice(indexes, 2 * session.account.max_connections - len(reading))
                reading |= {pool.submit(read, index) for index in more}
                done, reading = wait(reading, return_when=FIRST_COMPLETED)
                for page in (future.result() for future in done):
                    check_not_empty(page, first.total, limit, stream)
                    pages.append(page)
                advance(len(pages))
        except BaseException as error:
            if not isinstance(error, Disagreement):  # another sweep needs the session
                session.stop.set()  # no thread sleeps on before its next try
            pool.shutdown(wait=False, cancel_futures=True)  # the `with` waits for those under way
            raise
    return sorted(pages, key=lambda page: page.index)


def verify_complete(pages: list[Page], scope: Scope, *, include_foreign: bool) -> SnapshotIds:
    """The items' ids, once the pages are verified to contain all of them.

    Raises:
        Disagreement: they do not; another sweep may.
    """
    # an empty page after the last one has no say in the total
    totals = sorted({page.total for page in pages if page.rows or page.index == 0})
    if len(totals) > 1:
        raise Disagreement(f"expected the same total on every page, found {totals[0]} to {totals[-1]}")
    ids = distinct_ids(page.fingerprints for page in pages)
    rows = sum(page.rows for page in pages)
    if not len(ids) == rows == totals[0]:
        raise Disagreement(f"expected {totals[0]} distinct ids, found {len(ids)} in {rows} rows")
    foreign = sum(page.foreign_rows for page in pages)
    if foreign and not include_foreign:
        stream = scope.stream
        raise Disagreement(
            f"expected only {stream.item_noun} of this {stream.scope_noun}, found {foreign} of other "
            f"{stream.scope_noun}s{stream.foreign_hint}"
        )
    return ids
