"""The run's logger, so that what the plain functions say reaches Prefect's UI."""

import logging
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from tasks.text import harmless

Logger = logging.Logger | logging.LoggerAdapter[Any]


class OneLine(logging.LoggerAdapter[Any]):
    """A logger each of whose messages is one line without a link, whatever its arguments bring along."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            super().log(level, "%s", harmless(str(msg) % args if args else str(msg)), **kwargs)


def run_logger() -> Logger:
    """Prefect's logger inside a flow or task, else the plain one.

    Fetch it in the run's own thread; it may then be used from any.
    """
    try:
        return OneLine(get_run_logger(), {})
    except MissingContextError:
        return OneLine(logging.getLogger("department_members"), {})
