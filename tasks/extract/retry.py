"""Limits on retrying one LMS request: number of tries, waiting time and total time."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tasks.errors import LmsUnavailable
from tasks.log import Logger

MAX_TRIES = 8
MAX_WAIT_S = 60.0  # waiting between the tries of one request
# 85 + 30 (MAX_RETRY_AFTER_S) + 65 (one try: 5 to connect, 60 for the answer) = 180 s
MAX_ELAPSED_S = 85.0  # no wait begins after this: with the wait and one more try, a page ends within three minutes
MAX_RETRY_AFTER_S = 30.0
# the same where the request before was given up: less than one try, so that a server that hangs is tried only once
MAX_ELAPSED_IN_DOUBT_S = 55.0


class Unusable(Exception):
    """An unusable answer, or none, that a retry may fix; `wait_s` is the delay that the server asked for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def jitter(low: float, high: float) -> float:
    """Random seconds in between, so that what failed together does not come back together."""
    return random.uniform(low, high)  # noqa: S311 - no secret


@dataclass
class RetryBudget:
    """What is left of the tries, waiting time and total time for one request."""

    stop: threading.Event
    log: Logger
    most: int | None = None
    """Tries at most; None for MAX_TRIES."""
    in_doubt: bool = False
    """The request before was given up, so less time is spent on this one."""
    tries: int = 0
    waited_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def wait(self, reason: Unusable, what: str) -> None:
        """Sleep before the next try, or raise LmsUnavailable if there is none."""
        self.tries += 1
        # The whole wait is random. The LMS is said to refill its limit each second, so threads must not meet again.
        backoff = jitter(0.1, min(15.0, 0.5 * 2**self.tries))
        pause = max(backoff, reason.wait_s or 0.0)  # the server may lengthen a wait, never shorten it
        elapsed = self.clock() - self.began
        most, longest_s = self.most or MAX_TRIES, MAX_ELAPSED_IN_DOUBT_S if self.in_doubt else MAX_ELAPSED_S
        if self.tries >= most or self.waited_s + pause > MAX_WAIT_S or elapsed > longest_s:
            raise LmsUnavailable(
                f"{what}: expected a usable answer within {most} tries, found {reason} after {self.tries} tries in "
                f"{elapsed:.0f} s. None of it was published; run again when the LMS is back."
            ) from None
        self.waited_s += pause
        self.log.warning("%s: %s; try %d in %.1f s", what, reason, self.tries + 1, pause)
        if self.stop.wait(pause):
            raise LmsUnavailable(f"{what}: stopped, because the run is ending.")


def retry_after_s(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header (seconds or an HTTP date), within 0 and 30; else None."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = parsedate_to_datetime(header)
        except ValueError:
            return None
        # `-0000` stands for an unknown zone, and Python then gives a time without one
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    if seconds != seconds:  # "nan" is a float too
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
