"""One run an LMS account at a time, whatever deployment or department it is of."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL

from blocks.lms import LmsAccount
from blocks.resolve import lms_account
from tasks.errors import LmsUnavailable
from tasks.log import run_logger

LONGEST_WAIT_S = 3600.0
LEASE_S = 60.0  # the shortest Prefect allows: how long a killed run still holds its turn


@contextmanager
def one_run_an_account(blocks: str | None) -> Iterator[None]:
    """Hold the account's global concurrency limit (made on first use); wait for it, an hour at most.

    A script that starts a Prefect of its own has nobody to wait for, and does not.

    Raises:
        LmsUnavailable: other runs held the account all that time.
    """
    if PREFECT_API_URL.value() is None:
        yield
        return
    name = limit_name(lms_account(blocks))
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.upsert_global_concurrency_limit_by_name(name, 1)
    run_logger().info("taking turns with other runs of this LMS account (concurrency limit %s)", name)
    turn = concurrency(
        name,
        timeout_seconds=LONGEST_WAIT_S,
        lease_duration=LEASE_S,
        strict=True,
        raise_on_lease_renewal_failure=False,  # two sessions survive each other; a lost lease is no reason to stop
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(turn)
        except TimeoutError:
            raise LmsUnavailable(
                f"other runs used this LMS account for {LONGEST_WAIT_S / 60:.0f} minutes (concurrency limit {name}). "
                "Nothing was read. End the run that hangs, or give the pipeline more time between its schedules."
            ) from None
        yield


def limit_name(account: LmsAccount) -> str:
    """The limit's name: the same for one account everywhere, and it shows neither address nor user."""
    account_name = f"{account.rest_api_url}\n{account.username}".encode()
    return f"lms-account-{hashlib.blake2b(account_name, digest_size=4).hexdigest()}"
