"""The outcome of each scope of a run: a scope's own failure does not stop the others, and one alert lists them all."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect.runtime import flow_run

from tasks.errors import LmsUnavailable, PipelineError, ScopesFailed, SnapshotShrank
from tasks.log import run_logger
from tasks.progress import progress
from tasks.report import RunReport, log_report, show
from tasks.scopes_report import Outcome, ScopesReport
from tasks.streams import Scope, Stream

MOST_LISTED = 300
"""Failed scopes that the alert lists, in so many characters each: SNS takes 256 KB."""
MOST_IDS = 50
"""Ids that fit on a command line that a person copies."""
PROGRESS_KEY = "scopes-progress"
failed_so_far: dict[str | None, list[str]] = {}
"""The failures of each run by its id, for the alert of a run that then ends with another error or is stopped."""


READING, LOADING = "reading", "loading"


class Outcomes:
    """The scopes of one run, one after the other.

    Args:
        key: of the report.
        expanded: they were found below those asked for, and some may be empty.
        seen: the ids of all scopes of the LMS that the account sees, where they were listed.
        unreadable: scopes that should be read but cannot be, each with the reason.
        was_unavailable: the LMS was unavailable for the request before.
    """

    def __init__(
        self,
        scopes: tuple[Scope, ...],
        key: str,
        *,
        expanded: bool = False,
        seen: frozenset[str] | None = None,
        unreadable: tuple[tuple[Scope, PipelineError], ...] = (),
        was_unavailable: bool = False,
    ) -> None:
        self.found = {scope.id: Outcome(scope) for scope in scopes}
        self.key = key
        self.expanded = expanded
        self.seen = seen
        self.log = run_logger()
        self._was_unavailable = was_unavailable
        self._stopped_by: PipelineError | None = None
        failed_so_far[flow_run.id] = []
        for scope, error in unreadable:
            self.found[scope.id] = Outcome(scope)
            self._note(self.found[scope.id], error)

    @property
    def stream(self) -> Stream:
        """What they are scopes of."""
        return next(iter(self.found.values())).scope.stream

    @property
    def alone(self) -> bool:
        """There is one scope, and its error is the run's."""
        return len(self.found) == 1 and not self.expanded

    @property
    def extracted(self) -> dict[str, Any]:
        """The values of the extract's report; by the scopes' ids, where they are several."""
        return self._by_scope({key: outcome.extracted for key, outcome in self.found.items()})

    @property
    def loaded(self) -> dict[str, Any]:
        """The values of the load's report, likewise."""
        return self._by_scope({key: outcome.loaded for key, outcome in self.found.items()})

    def _by_scope(self, values: dict[str, dict[str, Any]]) -> dict[str, Any]:
        return next(iter(values.values())) if self.alone else values

    def remaining(self, what: str) -> Iterator[Outcome]:
        """Each scope that has not failed, with a progress bar over them where they are several."""
        todo = [o for o in self.found.values() if o.error is None and not o.empty and (o.extracted or what == READING)]
        if self.alone:
            yield from todo
            return
        # already set while loading if reading was cut short: what was read is still loaded
        before = self._stopped_by
        with progress(what, len(todo), self.log, PROGRESS_KEY) as advance:
            for number, outcome in enumerate(todo):
                advance(number)
                yield outcome
                # the LMS was unavailable for two scopes in a row: read no more
                if self._stopped_by is not before:
                    return
            advance(len(todo))

    @contextmanager
    def attempt(self, outcome: Outcome) -> Iterator[None]:
        """Work on one scope; a failure is recorded, and raised only if it affects more than that scope.

        If the LMS is unavailable for two scopes in a row, no more scopes are read. The scopes that were read are still
        loaded, and `finish` raises the error.
        """
        began = time.monotonic()
        try:
            yield
            self._was_unavailable = False
        except PipelineError as error:
            if self.expanded and isinstance(error, SnapshotShrank) and error.no_baseline:
                outcome.empty = True
                self._was_unavailable = False
                self.log.warning(
                    "%s has no %s, and nothing was ever published for it", outcome.scope, outcome.scope.stream.item_noun
                )
                return
            unavailable = isinstance(error, LmsUnavailable)
            if unavailable and self._was_unavailable and not self.alone:
                self._stopped_by = error
            elif self.alone or not (error.of_one_scope or unavailable):
                self._show()
                raise self._stopped(error) from None
            else:
                self._was_unavailable = unavailable
                self._note(outcome, error)
        except Exception:
            self._show()
            raise
        finally:
            outcome.seconds += time.monotonic() - began

    def _note(self, outcome: Outcome, error: PipelineError) -> None:
        outcome.error = error
        failed_so_far[flow_run.id].append(outcome.failure)
        self.log.error("%s", outcome.failure)

    def _stopped(self, error: PipelineError) -> PipelineError:
        """The error that ends the run early, with how far the run got and what had failed before."""
        if self.alone:
            return error
        published = sum(bool(outcome.extracted) for outcome in self.found.values())
        loaded = sum(bool(outcome.loaded) for outcome in self.found.values())
        nouns = f"{self.stream.scope_noun}s"
        came = f"of {len(self.found)} {nouns}, {published} were published and {loaded} loaded before that"
        failures = failures_of(self.found.values())
        before = ["failed earlier, each for its own reason:", *listed(failures)] if failures else []
        whole = type(error)(error.message, [*error.problems, came, *before])
        # they are in this error, so the alert need not list them once more
        failed_so_far.pop(flow_run.id, None)
        return whole.with_traceback(error.__traceback__)

    def report(self, key: str, report: RunReport) -> dict[str, Any]:
        """Log one report, and show it if there is only one scope; `finish` shows the report of several."""
        values = log_report(report)
        if self.alone:
            show(key, report)
        return values

    def finish(self, remarks: dict[str, str] | None = None) -> None:
        """Show what became of all of them, where they are several.

        Raises:
            ScopesFailed: lists each that failed, and no other.
            LmsUnavailable: not all could be read.
        """
        if self.alone:
            return
        self._show(remarks)
        if self._stopped_by is not None:
            raise self._stopped(self._stopped_by)
        outcomes = self._worst_first()
        del failed_so_far[flow_run.id]  # from here on they are all in the error, or there are none
        if failures := failures_of(outcomes):
            raise ScopesFailed(failure_summary(outcomes, expanded=self.expanded), listed(failures))

    def _show(self, remarks: dict[str, str] | None = None) -> None:
        if self.alone:  # whose report was shown by itself
            return
        report = ScopesReport.of(self._worst_first(), remarks or {})
        log_report(report)
        show(self.key, report)

    def _worst_first(self) -> list[Outcome]:
        return sorted(self.found.values(), key=lambda outcome: outcome.rank)


def failure_summary(outcomes: list[Outcome], *, expanded: bool = False) -> str:
    """How many failed, and what to do.

    With `expanded`, no flag for a separate run is offered: read alone, a scope may include rows of those below it.
    """
    kind = outcomes[0].scope.stream.scope_noun
    ids = [outcome.scope.id for outcome in outcomes if outcome.error]
    alone = f" (add --{kind}-id {','.join(ids)} for only these)" if len(ids) <= MOST_IDS and not expanded else ""
    return f"{len(ids)} of {len(outcomes)} {kind}s failed; the others succeeded. Fix each one, then run again{alone}."


def failures_of(outcomes: Iterable[Outcome]) -> list[str]:
    """The failure of each that failed, in their order."""
    return [outcome.failure for outcome in outcomes if outcome.error]


def listed(failures: list[str]) -> list[str]:
    """As many failures as an alert can hold, and how many more there are."""
    more = len(failures) - MOST_LISTED
    return failures if more <= 0 else [*failures[:MOST_LISTED], f"and {more} more; see the run's report"]
