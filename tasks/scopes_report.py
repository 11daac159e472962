"""One scope's outcome, and the report of a run over several: a line for each, the worst first."""

import traceback
from dataclasses import dataclass, field
from typing import Any

from prefect import Task

from tasks.errors import PipelineError, ScopesFailed
from tasks.report import COUNTS, RunReport, notes, table
from tasks.snapshot_ids import SnapshotIds
from tasks.streams import Scope
from tasks.text import quoted_code

LONGEST_LINE = 600  # an alert with MOST_LISTED of them stays below SNS's 256 KB


@dataclass
class Outcome:
    """What became of one scope."""

    scope: Scope
    extracted: dict[str, Any] = field(default_factory=dict)
    loaded: dict[str, Any] = field(default_factory=dict)
    """The values of the extract's and the load's reports."""
    ids: SnapshotIds | None = None
    """The ids that it was found to hold, whether or not it could be published."""
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
        counts = {name: sum(outcome.loaded.get(name, 0) for outcome in outcomes) for name in COUNTS}
        counts["read"] = sum(outcome.extracted.get("rows", 0) for outcome in outcomes)  # of those not loaded, too
        return cls(
            outcome=f"{failed} of {len(outcomes)} {stream.scope_noun}s failed" if failed else f"{len(outcomes)} done",
            scopes=len(outcomes),
            failed=failed,
            empty=sum(outcome.empty for outcome in outcomes),
            **counts,
            remarks="; ".join(f"{what}: {text}" for what, text in remarks.items() if text),
            lines=tuple(map(line_of, outcomes)),
            heads=(
                stream.scope_noun,
                stream.item_noun,
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


def line_of(outcome: Outcome) -> tuple[str, ...]:
    """One scope's line of the report."""
    extracted, loaded = outcome.extracted, outcome.loaded
    became = loaded.get("outcome") or extracted.get("outcome", "not read")
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
            # the frame is the plain function's, but its name in the module belongs to the Task made of it
            if isinstance(frame.f_globals.get(frame.f_code.co_name), Task):
                return frame.f_code.co_name
    return "outside the tasks"
