"""The limits on retrying one request, whatever the LMS does and says."""

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.errors import LmsUnavailable
from tasks.extract import retry
from tasks.extract import session as client
from tasks.extract.retry import RetryBudget, Unusable, retry_after_s
from tasks.log import run_logger


class Clock(threading.Event):
    """A clock that waiting for the event sets forward."""

    now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0
        return False


TRY_S = sum(client.TIMEOUT_S)
LAST_TRY_LATEST = [TRY_S, retry.MAX_ELAPSED_S - TRY_S, TRY_S], [0.0, retry.MAX_RETRY_AFTER_S, 0.0]


@example(*LAST_TRY_LATEST)
@given(
    st.lists(st.floats(0, TRY_S), min_size=8),
    st.lists(st.none() | st.floats(0, retry.MAX_RETRY_AFTER_S), min_size=8),
)
def test_a_page_ends_within_three_minutes_however_slowly_the_lms_fails(
    tries_s: list[float], retry_after: list[float | None]
) -> None:
    clock = Clock()
    page = RetryBudget(clock, run_logger(), clock=lambda: clock.now)
    with pytest.raises(LmsUnavailable):
        for try_s, wait_s in zip(tries_s, retry_after, strict=False):
            clock.now += try_s
            page.wait(Unusable("no answer in time", wait_s), "page 0")
    assert clock.now <= 180
    assert page.waited_s <= 60


def test_three_departments_of_an_lms_that_hangs_take_less_than_four_minutes() -> None:
    clock = Clock()
    for in_doubt in (False, True):  # the third is not read
        page = RetryBudget(clock, run_logger(), None, in_doubt, clock=lambda: clock.now)
        with pytest.raises(LmsUnavailable):
            while True:
                clock.now += TRY_S
                page.wait(Unusable("no answer in time"), "page 0")
    assert clock.now < 240


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), ("-5", 0.0), ("86400", 30.0), ("1e9", 30.0), ("nan", None), ("inf", 30.0),
     ("tomorrow", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), (None, None), ("", None)],
)  # fmt: skip
def test_retry_after_is_read_in_all_its_forms_and_capped(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header) == seconds


def test_retry_after_as_a_date_counts_from_now() -> None:
    wait = retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True))
    assert wait is not None
    assert 8 <= wait <= 10
