"""The account lock: one run per LMS account at a time, whatever deployment or department it is of.

It is one global concurrency limit of Prefect with a single slot, whose slot decays: it frees itself two minutes after
it was last refreshed, and the run that holds it refreshes it every 20 seconds. So it lives in the server's database
alone. Prefect's own leases, which `prefect.concurrency` uses, live in the server's memory by default: after a restart
nobody frees such a slot, and no client can learn who holds it.
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
from prefect.settings import PREFECT_API_URL

from blocks.lms import LmsAccount
from tasks.credentials import lms_account
from tasks.errors import LmsUnavailable
from tasks.log import Logger, run_logger

LONGEST_WAIT_S = 3600.0
DEAD_AFTER_S = 120.0
"""How long after its last refresh a slot still counts as held: what a dead run, worker, machine or server costs."""
REFRESH_S = 20.0
POLL_S = 2.0
FREED_WITHIN_S, FREED_AT_THE_END_S = 0.3, 10.0
"""As long a run waits for its lock to be freed; a server that is busy or down is asked on while the run goes on."""
PREFECT_ERRORS = (httpx.HTTPError, ObjectNotFound, RuntimeError)
"""What Prefect's client raises where the server is down, restarting, or refuses."""


@contextmanager
def one_run_an_account(blocks: str | None) -> Iterator[None]:
    """Hold the account lock (made on first use); wait for it, an hour at most.

    A run that dies frees it within two minutes. A run that outlives a restart of Prefect's server keeps it. If the
    server cannot be asked for two minutes, the run goes on without the lock and logs a warning: two runs that sign in
    with one account renew their sessions in turn, and both end with the right data. A script that starts a Prefect of
    its own has nobody to wait for, and does not.

    Raises:
        LmsUnavailable: other runs, alive, held the account all that time.
    """
    if PREFECT_API_URL.value() is None:
        yield
        return
    name, log = limit_name(lms_account(blocks)), run_logger()
    log.info("one run per LMS account at a time: taking the account lock (concurrency limit %s)", name)
    if not acquired(name, log):
        yield
        return
    with refreshed(name, log):
        yield


def acquired(name: str, log: Logger) -> bool:
    """Wait for the lock; False where Prefect could not be asked for so long that no run is known to be alive."""
    end = time.monotonic() + LONGEST_WAIT_S
    answered, told = time.monotonic(), False
    while True:
        try:
            with get_client(sync_client=True) as client:
                if take(client, name):
                    return True
            answered = time.monotonic()
        except PREFECT_ERRORS as error:
            if refused(error) or time.monotonic() - answered > DEAD_AFTER_S:
                log.warning(
                    "Prefect did not give the account lock (%s): going on without it; a run of this account that lives "
                    "all the same renews its session, and so does this one",
                    type(error).__name__,
                )
                return False
        if time.monotonic() > end:
            raise LmsUnavailable(
                f"other runs used this LMS account for {LONGEST_WAIT_S / 60:.0f} minutes (concurrency limit {name}). "
                "Nothing was read. End the run that hangs, or give the pipeline more time between its schedules."
            )
        if not told:
            log.info("another run holds the account lock; if it died, the lock is free within %.0f s", DEAD_AFTER_S)
            told = True
        time.sleep(random.uniform(POLL_S / 2, POLL_S))  # noqa: S311


def refused(error: Exception) -> bool:
    """Whether Prefect answered, and says no: this API key may not use concurrency limits."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403, 405, 422)


def take(client: SyncPrefectClient, name: str) -> bool:
    """Take the slot if it is free.

    Reads first: the server notes a refused attempt in the limit's row, whose time stamp the decay counts from, so that
    runs which only try would keep a dead run's slot alive for ever.
    """
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
def refreshed(name: str, log: Logger) -> Iterator[None]:
    """Keep the slot from decaying until the block ends; then free it, and go on if that takes the server long."""
    ended, freed = threading.Event(), threading.Event()

    def refresh_and_free() -> None:
        while not ended.wait(REFRESH_S):
            try:
                with get_client(sync_client=True) as client:
                    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=1))
            except PREFECT_ERRORS as error:
                log.warning("the account lock could not be refreshed (%s); reading on", type(error).__name__)
        try:
            with get_client(sync_client=True) as client:
                client.release_concurrency_slots(names=[name], slots=1, occupancy_seconds=1)
        except PREFECT_ERRORS as error:
            log.warning(
                "the account lock could not be freed (%s); it is free within %.0f s", type(error).__name__, DEAD_AFTER_S
            )
        finally:
            freed.set()

    threading.Thread(target=contextvars.copy_context().run, args=(refresh_and_free,)).start()
    freed_within_s = FREED_AT_THE_END_S  # an error ends the process soon
    try:
        yield
        freed_within_s = FREED_WITHIN_S
    finally:
        ended.set()
        wait_through_signals(freed, freed_within_s)


def wait_through_signals(event: threading.Event, seconds: float) -> None:
    """Wait for an event; a signal that comes meanwhile is heeded afterwards, or the process would end before it.

    Not for a thread's end: a `join` that a signal interrupts takes a living thread for ended (CPython 3.11 and 3.12).
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
    """The limit's name: the same for one account everywhere, and it shows neither address nor user."""
    account_name = f"{account.rest_api_url}\n{account.username}".encode()
    return f"lms-account-{hashlib.blake2b(account_name, digest_size=4).hexdigest()}"
