"""The outcome of each scope of a run: a scope's own failure does not stop the others, and one alert lists them all."""

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from prefect import Task

from tasks.errors import LmsUnavailable, PipelineError, ScopesFailed, SnapshotShrank
from tasks.log import run_logger
from tasks.progress import progress
from tasks.report import RunReport, log_report, notes, show, table
from tasks.streams import Scope
from tasks.text import quoted_code

LONGEST_LINE = 600
MOST_LISTED = 300
"""Failed scopes that the alert lists, in so many characters each: SNS takes 256 KB."""
MOST_IDS = 50
"""Ids that fit on a command line that a person copies."""


@dataclass
class Outcome:
    """What became of one scope."""

    scope: Scope
    extracted: dict[str, Any] = field(default_factory=dict)
    loaded: dict[str, Any] = field(default_factory=dict)
    """The values of the two halves' reports."""
    error: PipelineError | None = None
    empty: bool = False
    """It has no rows and never had any; nothing was published for it."""
    seconds: float = 0.0

    @property
    def failure(self) -> str:
        """Which scope failed, by what error, in which step, and what to do; on one line."""
        if self.error is None:
            return ""
        said = "; ".join([self.error.message, *self.error.problems])
        line = f"{self.scope}: {type(self.error).__name__} in {step_of(self.error)}: {said}"
        return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """The worst comes first: failed, empty, with rejected rows, with leavers."""
        loaded = self.loaded
        return self.error is None, not self.empty, -loaded.get("rejected", 0), -loaded.get("departed", 0)


class Outcomes:
    """The scopes of one run, one after the other.

    Args:
        expanded: they were found below those asked for, and some may be empty.
        seen: the ids of all scopes of the LMS that the account sees, where they were listed.
    """

    def __init__(
        self, scopes: tuple[Scope, ...], *, expanded: bool = False, seen: frozenset[str] | None = None
    ) -> None:
        self.found = {scope.id: Outcome(scope) for scope in scopes}
        self.expanded = expanded
        self.seen = seen
        self.log = run_logger()
        self._was_unavailable = False

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

    def in_turn(self, what: str) -> Iterator[Outcome]:
        """Each scope that has not failed, with a progress bar over them where they are several."""
        todo = [outcome for outcome in self.found.values() if outcome.error is None and not outcome.empty]
        if self.alone:
            yield from todo
            return
        with progress(what, len(todo), self.log) as advance:
            for number, outcome in enumerate(todo):
                advance(number)
                yield outcome

    @contextmanager
    def attempt(self, outcome: Outcome) -> Iterator[None]:
        """Work on one scope; a failure is recorded, and raised only if it affects more than that scope.

        If the LMS is unavailable for two scopes in a row, it counts as unavailable for all.
        """
        began = time.monotonic()
        try:
            yield
            self._was_unavailable = False
        except PipelineError as error:
            if self.expanded and isinstance(error, SnapshotShrank) and error.no_baseline:
                outcome.empty = True
                self.log.warning(
                    "%s has no %s, and nothing was ever published for it", outcome.scope, outcome.scope.stream.items
                )
                return
            unavailable = isinstance(error, LmsUnavailable)
            if self.alone or not (error.of_one_scope or unavailable and not self._was_unavailable):
                raise self._stopped(error) from None
            self._was_unavailable = unavailable
            outcome.error = error
            self.log.error("%s", outcome.failure)
        finally:
            outcome.seconds += time.monotonic() - began

    def _stopped(self, error: PipelineError) -> PipelineError:
        """The error that ends the run at once; it names those that had failed before, each by its own."""
        failures = [outcome.failure for outcome in self.found.values() if outcome.error]
        if not failures:
            return error
        whole = type(error)(
            error.message, [*error.problems, "failed earlier, each for its own reason:", *listed(failures)]
        )
        return whole.with_traceback(error.__traceback__)

    def report(self, key: str, report: RunReport) -> dict[str, Any]:
        """Log one report, and show it if there is only one scope; `finish` shows the report of several."""
        values = log_report(report)
        if self.alone:
            show(key, report)
        return values

    def finish(self, key: str, remarks: dict[str, str] | None = None) -> None:
        """Show what became of all of them, where they are several.

        Raises:
            ScopesFailed: lists each that failed, and no other.
        """
        if self.alone:
            return
        outcomes = sorted(self.found.values(), key=lambda outcome: outcome.rank)
        failures = [outcome.failure for outcome in outcomes if outcome.error]
        report = ScopesReport.of(outcomes, remarks or {})
        log_report(report)
        show(key, report)
        if failures:
            raise ScopesFailed(what_failed(outcomes), listed(failures))


@dataclass(frozen=True)
class ScopesReport(RunReport):
    """What a run did with several scopes: a line for each, the worst first."""

    outcome: str
    scopes: int
    failed: int
    empty: int
    read: int
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    departed: int
    returned: int
    remarks: str
    lines: tuple[tuple[str, ...], ...] = field(repr=False)
    heads: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, outcomes: list[Outcome], remarks: dict[str, str]) -> "ScopesReport":
        """From what became of each."""
        stream = outcomes[0].scope.stream
        failed = sum(outcome.error is not None for outcome in outcomes)
        names = ("inserted", "updated", "unchanged", "duplicates", "rejected", "departed", "returned")
        counts = {name: sum(outcome.loaded.get(name, 0) for outcome in outcomes) for name in names}
        return cls(
            outcome=f"{failed} of {len(outcomes)} {stream.scope}s failed" if failed else f"{len(outcomes)} done",
            scopes=len(outcomes),
            failed=failed,
            empty=sum(outcome.empty for outcome in outcomes),
            read=sum(outcome.extracted.get("rows", 0) for outcome in outcomes),
            **counts,
            remarks="; ".join(f"{what}: {text}" for what, text in remarks.items() if text),
            lines=tuple(map(line_of, outcomes)),
            heads=(
                stream.scope,
                stream.items,
                "before",
                "inserted",
                "departed",
                "updated",
                "rejected",
                "seconds",
                "outcome",
            ),
        )

    def markdown(self) -> str:
        """All scopes at a glance: which failed and why, how many rows were added, removed and changed."""
        return "\n".join([
            f"# {self.outcome}",
            f"{self.read:,} rows read; {self.inserted:,} inserted, {self.updated:,} updated, "
            f"{self.unchanged:,} unchanged, {self.departed:,} departed, {self.rejected:,} rejected.",
            "",
            *table(self.heads, self.lines),
            *notes({"To check": self.remarks}),
        ])  # fmt: skip


def what_failed(outcomes: list[Outcome]) -> str:
    """How many failed, and what to do."""
    kind = outcomes[0].scope.stream.scope
    ids = [outcome.scope.id for outcome in outcomes if outcome.error]
    alone = f" (add --{kind}-id {','.join(ids)} for only these)" if len(ids) <= MOST_IDS else ""
    return f"{len(ids)} of {len(outcomes)} {kind}s failed; the others succeeded. Fix each one, then run again{alone}."


def listed(failures: list[str]) -> list[str]:
    """As many failures as an alert can hold, and how many more there are."""
    more = len(failures) - MOST_LISTED
    return failures if more <= 0 else [*failures[:MOST_LISTED], f"and {more} more; see the run's report"]


def line_of(outcome: Outcome) -> tuple[str, ...]:
    """One scope's line of the report."""
    extracted, loaded = outcome.extracted, outcome.loaded
    became = loaded.get("outcome") or extracted.get("outcome", "")
    if outcome.empty:
        became = "empty; nothing was published"
    counts = (
        extracted.get("rows"),
        extracted.get("previous_rows"),
        *map(loaded.get, ("inserted", "departed", "updated", "rejected")),
    )
    return (
        f"`{quoted_code(outcome.scope.label)}`",
        *("" if count is None else f"{count:,}" for count in counts),
        f"{outcome.seconds:.1f}",
        f"`{quoted_code(outcome.failure or became)}`",
    )


def step_of(error: object) -> str:
    """The task in which an error was raised, by its traceback."""
    if isinstance(error, ScopesFailed):
        return "see each failure"
    if isinstance(error, BaseException):
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if isinstance(frame.f_globals.get(frame.f_code.co_name), Task):
                return frame.f_code.co_name
    return "outside the tasks"
