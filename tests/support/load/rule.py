"""The rule of the rejected: none could be added to the result, and who competes for a value wins by what he holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from tests.support.load.oracle import Entry, Oracle, differing
from tests.support.load.server import Refused
from tests.support.load.table import KEY, quoted

if TYPE_CHECKING:
    from tests.support.load.judge import Judge


@dataclass
class Rule:
    """The rule, asked of one judged load."""

    judge: Judge
    oracle: Oracle

    def check_kept(self, kept: list[str]) -> None:
        """No leaver was kept whom the table would let go."""
        for group in {(key,) for key in kept} | ({tuple(kept)} if kept else set()):
            with self.oracle.trial():
                try:
                    self.oracle.apply([], *self.departing(group))
                except Refused:
                    continue
                self.judge.fault("leavers", f"{', '.join(group)} could be let go")

    def departing(self, keys: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Those to delete and those to mark, as the file is loaded."""
        return ((), dict.fromkeys(keys, self.judge.at)) if self.judge.revives else (keys, {})

    def candidates(self) -> Iterator[Entry]:
        """Rejected rows that must be to blame for something the table says."""
        blind = any(trigger.events == "UPDATE" for trigger in self.judge.table.triggers)
        shielded = bool(
            self.judge.table.checks or self.judge.table.triggers or self.judge.table.refused or self.judge.table.hidden
        )
        for entry in self.judge.rejected:
            key, (_, reason) = entry.key, self.judge.outcome.rejected[entry.line]
            if entry.must is not True or key is None:
                continue
            if "DEFERRABLE" in reason and (shielded or any(c.required for c in self.judge.table.columns)):
                continue  # the detour itself was refused
            if key in self.judge.writes and blind:
                continue  # it would be judged as an update of a row that was just inserted
            yield entry

    def check_needless(self, gone: list[str]) -> None:
        """No set of rejected rows could be added to the result."""
        pool = list(self.candidates())
        for entry in pool:
            stored = self.judge.before.rows.get(str(entry.key))
            alone = entry.key not in self.judge.writes and entry.key in self.judge.before.visible and stored is not None
            if alone and stored and not differing(self.judge.table, self.judge.written(entry), stored.values):
                return self.judge.fault(
                    "rejected needlessly", f"line {entry.line}, which the table holds already: {self.why(entry)}"
                )
        there = (self.judge.before.visible | self.judge.writes.keys()) - set(gone)
        sizes = range(1, len(pool) + 1) if len(pool) <= 6 else (1, 2, len(pool))
        for size in sizes:
            for group in combinations(pool, size):
                if len({entry.key for entry in group}) == size and self.fits(group, there):
                    together = "rejected needlessly" if size == 1 else "rejected needlessly, together"
                    together += ": " + re.sub(
                        r'"[^"]*(?:""[^"]*)*"', "…", self.judge.outcome.rejected[group[0].line][1]
                    )
                    return self.judge.fault(together, "; ".join(f"line {e.line}: {self.why(e)}" for e in group))
        return None

    def why(self, entry: Entry) -> str:
        column, reason = self.judge.outcome.rejected[entry.line]
        return f"{column or 'row'}: {reason}"

    def fits(self, group: tuple[Entry, ...], there: set[str]) -> bool:
        with self.oracle.trial():
            try:
                for entry in group:
                    self.judge.server.write(
                        self.judge.server.copy_name, self.judge.written(entry), exists=entry.key in there
                    )
                self.judge.server.settle()
            except Refused:
                return False
            return True

    def check_exchange(self, gone: list[str], marked: dict[str, str]) -> None:
        """With one unique column: no accepted row has a value that a rejected one had the better claim to."""
        uniques = self.judge.table.uniques
        if len(uniques) != 1 or uniques[0].operator != "=":
            return
        held = self.values()
        for entry in self.candidates():
            for other in self.judge.in_order():
                if entry.key == other.key or entry.key in self.judge.writes:
                    continue
                rest = [e for e in self.judge.in_order() if e is not other]
                with self.oracle.trial():
                    try:
                        self.oracle.apply([self.judge.written(e) for e in [*rest, entry]], gone, marked)
                    except Refused:
                        continue
                    value = self.values().get(str(entry.key))
                holder, rival = held.get(str(entry.key)) == value, held.get(str(other.key)) == value
                if value is not None and (holder and not rival or holder == rival and entry.index < other.index):
                    how = "holds the value" if holder else "comes first"
                    why = f"line {entry.line} {how}, line {other.line} was accepted instead"
                    self.judge.fault("the wrong rival won", f"{why}: {self.why(entry)}")
                    return

    def values(self) -> dict[str, tuple[str, ...]]:
        """What the one unique constraint is about, as the copy has it now, by key."""
        unique, server = self.judge.table.uniques[0], self.judge.server
        parts = []
        for part in unique.parts:
            folds = any(c.kind == "ci" and quoted(c.name) == part for c in self.judge.table.columns)
            parts.append(f"lower(({part})::text)" if folds else f"({part})::text")
        where = f" WHERE {unique.where}" if unique.where else ""
        rows = server.run(f"SELECT {KEY}::text, {', '.join(parts)} FROM {server.address(server.copy_name)}{where}")
        return {row[0]: row[1:] for row in rows}
