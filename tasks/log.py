"""The run's logger, so that what the plain functions say reaches Prefect's UI."""

import logging
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

Logger = logging.Logger | logging.LoggerAdapter[Any]


def run_logger() -> Logger:
    """Prefect's logger inside a flow or task, else the plain one.

    Fetch it in the run's own thread; it may then be used from any.
    """
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("department_members")
