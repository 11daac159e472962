"""Progress of the fetch: a bar in a terminal; in Prefect, a log line and a progress artifact every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext, TaskRunContext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tasks.log import Logger

EVERY_S = 5.0
KEY = "lms-to-s3-progress"


@contextmanager
def progress(what: str, total: int, log: Logger, key: str = KEY) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number done so far; quick work shows only the bar."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        artifact: UUID | None = None
        logged = time.monotonic()

        def advance(done: int) -> None:
            nonlocal artifact, logged
            bar.update(task, completed=done)
            if time.monotonic() - logged >= EVERY_S:
                logged = time.monotonic()
                log.info("%s: %d of %d", what, done, total)
                artifact = show(artifact, what, 100 * done / total, log, key)

        yield advance
        if artifact is not None:
            show(artifact, what, 100, log, key)


def show(artifact: UUID | None, what: str, percent: float, log: Logger, key: str) -> UUID | None:
    """Create or update the run's artifact; if Prefect cannot be reached, the run goes on."""
    if TaskRunContext.get() is None and FlowRunContext.get() is None:
        return None
    try:
        if artifact is not None:
            update_progress_artifact(artifact, percent)
            return artifact
        made: Any = create_progress_artifact(percent, key=key, description=what)
        return made if isinstance(made, UUID) else None
    except Exception as error:
        log.debug("progress could not be shown (%s)", type(error).__name__)
        return artifact
