"""The account lock: one run per LMS account at a time, across deployments and departments.

It is a global Prefect concurrency limit with one slot that decays: the slot frees itself two minutes after its last
refresh, and the run that holds it refreshes it every 20 seconds. So the lock exists only in the server's database.
Prefect's leases, which `prefect.concurrency` uses, are kept in the server's memory by default: after a restart, nothing
frees such a slot, and no client can find out who holds it.
"""

import contextvars
import hashlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, TerminationSignal

from blocks.lms import LmsAccount
from tasks.credentials import lms_account
from tasks.errors import LmsUnavailable
from tasks.local_server import is_shared
from tasks.log import Logger, run_logger

LONGEST_WAIT_S = 3600.0
DEAD_AFTER_S = 120.0
"""How long after its last refresh a slot still counts as held, and so how long a dead run blocks the next one."""
REFRESH_S = 20.0  # six in DEAD_AFTER_S, so that some may fail, for example while the server restarts
POLL_S = 2.0
FREED_WITHIN_S, FREED_AT_THE_END_S = 0.3, 10.0
"""How long a run waits for its lock to be freed; after that, freeing it continues in the background: while its SQLite
database is being written, Prefect answers 503, and its client waits two seconds before it tries again."""
PREFECT_ERRORS = (httpx.HTTPError, ObjectNotFound, RuntimeError)
"""What Prefect's client raises if the server is down or restarting, or refuses the request."""


@contextmanager
def one_run_an_account(blocks: str | None) -> Iterator[None]:
    """Hold the account lock (created on first use); wait for it for at most an hour.

    The lock of a dead run is freed within two minutes. A run that survives a restart of the Prefect server keeps it. If
    the server does not answer for two minutes, the run continues without the lock and logs a warning: two runs with one
    account renew their sessions in turn, and both end with correct data. A script that starts its own Prefect server
    does not wait.

    Raises:
        LmsUnavailable: other live runs held the account lock all that time.
    """
    if not is_shared():
        yield
        return
    name, log = limit_name(lms_account(blocks)), run_logger()
    log.info("taking the account lock, since only one run per LMS account is allowed (concurrency limit %s)", name)
    if not acquire(name, log):
        yield
        return
    with keep_refreshed(name, log):
        yield


def acquire(name: str, log: Logger) -> bool:
    """Wait for the lock; False if Prefect did not answer for so long that the holder may be dead."""
    end = time.monotonic() + LONGEST_WAIT_S
    answered, waiting_logged = time.monotonic(), False
    while True:
        try:
            with get_client(sync_client=True) as client:
                if try_acquire(client, name):
                    return True
            answered = time.monotonic()
        except PREFECT_ERRORS as error:
            # after that long, the slot of a holder that reaches Prefect no better has decayed
            if refused(error) or time.monotonic() - answered > DEAD_AFTER_S:
                log.warning(
                    "could not get the account lock from Prefect (%s); continuing without it. If another run uses "
                    "this account, the two may end each other's session; both sign in again",
                    type(error).__name__,
                )
                return False
        if time.monotonic() > end:
            raise LmsUnavailable(
                f"other runs used this LMS account for {LONGEST_WAIT_S / 60:.0f} minutes (concurrency limit {name}). "
                "Nothing was read. Cancel the run that is stuck, or leave more time between scheduled runs."
            )
        if not waiting_logged:
            log.info(
                "another run holds the account lock; if that run has died, the lock is freed within %.0f s",
                DEAD_AFTER_S,
            )
            waiting_logged = True
        # random, so that runs which wait for one lock do not always ask at the same moment
        time.sleep(random.uniform(POLL_S / 2, POLL_S))  # noqa: S311


def refused(error: Exception) -> bool:
    """Whether Prefect refused the request: this API key may not use concurrency limits."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403, 405, 422)


def try_acquire(client: SyncPrefectClient, name: str) -> bool:
    """Take the slot if it is free.

    Reads first: a refused attempt updates the timestamp in the limit's row, from which the decay is counted, so
    repeated attempts would keep a dead run's slot alive for ever.
    """
    # Prefect reads the limit and creates it if it is missing: of two runs that do so at once, one is too late.
    # The server frees whole slots, so at this rate the only one is free DEAD_AFTER_S after the row's last update.
    with suppress(ObjectAlreadyExists):
        client.upsert_global_concurrency_limit_by_name(name, 1, slot_decay_per_second=1 / DEAD_AFTER_S)
    limit = client.read_global_concurrency_limit_by_name(name)
    if limit.active_slots > 0:
        return False
    try:
        client.increment_concurrency_slots(names=[name], slots=1, mode="concurrency")
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.LOCKED:  # another run was faster
            return False
        raise
    return True


@contextmanager
def keep_refreshed(name: str, log: Logger) -> Iterator[None]:
    """Keep the slot from decaying until the block ends; then free it, without waiting long for a slow server."""
    ended, freed = threading.Event(), threading.Event()

    def refresh_and_free() -> None:
        while not ended.wait(REFRESH_S):
            try:
                with get_client(sync_client=True) as client:
                    # the value stays the same, but the update sets the time from which the decay is counted
                    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=1))
            except PREFECT_ERRORS as error:
                log.warning("the account lock could not be refreshed (%s); continuing", type(error).__name__)
        try:
            with get_client(sync_client=True) as client:
                # occupancy_seconds only feeds Prefect's estimate of how long others should wait
                client.release_concurrency_slots(names=[name], slots=1, occupancy_seconds=1)
        except PREFECT_ERRORS as error:
            log.warning(
                "the account lock could not be freed (%s); it expires within %.0f s", type(error).__name__, DEAD_AFTER_S
            )
        finally:
            freed.set()

    # not a daemon: it must still free the slot when the run goes on without waiting
    # a copy of the context, which holds Prefect's settings: a new thread begins with an empty one
    threading.Thread(target=contextvars.copy_context().run, args=(refresh_and_free,)).start()
    freed_within_s = FREED_AT_THE_END_S  # an error ends the process soon
    try:
        yield
        freed_within_s = FREED_WITHIN_S
    finally:
        ended.set()
        wait_through_signals(freed, freed_within_s)


def wait_through_signals(event: threading.Event, seconds: float) -> None:
    """Wait for an event; a signal that arrives meanwhile is raised only afterwards.

    Do not use it with `Thread.join`: interrupted by a signal, `join` treats a running thread as finished (CPython 3.11
    and 3.12).
    """
    end, interrupted = time.monotonic() + seconds, None
    while not event.is_set() and (left := end - time.monotonic()) > 0:
        try:
            event.wait(left)
        except (KeyboardInterrupt, TerminationSignal) as signal:
            interrupted = signal
    if interrupted is not None:
        raise interrupted


def limit_name(account: LmsAccount) -> str:
    """The limit's name: always the same for one account, without revealing its address or user."""
    account_name = f"{account.rest_api_url}\n{account.username}".encode()
    return f"lms-account-{hashlib.blake2b(account_name, digest_size=4).hexdigest()}"
