"""Whether a load did what design C6 says: rows exact, the rest untouched, counts true, nothing rejected needlessly."""

from dataclasses import dataclass, field

from tests.support.load.oracle import Entry, Oracle, differing, entries, moment, same, winner
from tests.support.load.random_files import File
from tests.support.load.rule import Rule
from tests.support.load.server import Refused, Server, Stored, Values
from tests.support.load.table import DEPARTED_AT, DEPARTMENT_ID, EDITED, quoted
from tests.support.loader import DEPARTMENT


@dataclass(frozen=True)
class Fault:
    """One broken promise: `kind` groups them."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Outcome:
    """What the load said: its counts, the reject file's lines, and the leavers that it could not let go."""

    counts: dict[str, int]
    rejected: dict[int, tuple[str, str]]
    kept_leavers: frozenset[str] | None = None


@dataclass(frozen=True)
class Before:
    """The table as it was, what the loader saw of it, and what refers to it from outside."""

    rows: dict[str, Stored]
    visible: set[str]
    outside: list[str]


@dataclass
class Judge:
    """One load, judged."""

    server: Server
    file: File
    at: str
    """The snapshot's time as PostgreSQL writes it."""
    before: Before
    after: dict[str, Stored]
    outcome: Outcome
    superseded: bool = False
    """Whether a newer snapshot was loaded before, so that nobody is a leaver."""
    faults: list[Fault] = field(default_factory=list)
    writes: dict[str, Entry] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    slack: int = 0
    """How many rows may count as duplicates or unchanged alike."""

    def __post_init__(self) -> None:
        self.table = self.server.table
        self.entries = entries(self.server, self.table, self.file)
        at_line = {entry.line: entry for entry in self.entries}
        self.rejected = [at_line[line] for line in self.outcome.rejected if line in at_line]
        if len(self.rejected) != len(self.outcome.rejected):
            self.fault("reject file", f"a line that holds no row: {sorted(set(self.outcome.rejected) - set(at_line))}")

    def fault(self, kind: str, what: str) -> None:
        self.faults.append(Fault(kind, what))

    def judge(self) -> list[Fault]:
        self.check_values()
        self.sort_out()
        gone, marked, kept = self.leavers()
        oracle = Oracle(self.server, self.before.rows, self.before.visible, self.before.outside)
        rule = Rule(self, oracle)
        try:
            with oracle.trial():
                rows = [self.written(entry) for entry in self.in_order()]
                try:
                    oracle.apply(rows, gone, marked)
                except Refused as refused:
                    self.fault("accepted what the final state refuses", str(refused))
                else:
                    self.check_content(oracle.content())
                    rule.check_kept(kept)
                    rule.check_needless(gone)
            if not self.faults:
                rule.check_exchange(gone, marked)
        finally:
            oracle.close()
        self.check_counts(len(gone) + len(marked))
        return self.faults

    def in_order(self) -> list[Entry]:
        return sorted(self.writes.values(), key=lambda entry: entry.index)

    def check_values(self) -> None:
        """Rows whose values cannot be read are rejected, and no reason holds a value."""
        for entry in self.entries:
            if entry.must is False and entry not in self.rejected:
                self.fault(
                    f"a bad value was loaded: {entry.bad[0].rpartition('(')[2]}",
                    f"line {entry.line}: {', '.join(entry.bad)}",
                )
        for line, (column, reason) in self.outcome.rejected.items():
            if "3cret" in reason or not reason:
                self.fault("a value in a reason", f"line {line}, {column}: {reason}")

    def sort_out(self) -> None:
        """Which rows are to be written, and what each row counts as."""
        self.counts = {"read": len(self.entries), "rejected": len(self.rejected)}
        self.counts |= dict.fromkeys(("inserted", "updated", "unchanged", "duplicates", "returned"), 0)
        by_key: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if entry not in self.rejected and entry.key is not None and entry.values:
                by_key.setdefault(entry.key, []).append(entry)
        for key, rows in by_key.items():
            self.counts["duplicates"] += len(rows) - 1
            self.sort_out_key(key, winner(rows))

    def sort_out_key(self, key: str, best: Entry) -> None:
        stored = self.before.rows[key].values if key in self.before.visible else None
        new = self.written(best)
        if self.left_alone(key, stored):
            self.counts["duplicates"] += 1
            self.slack += 1
        elif stored is None:
            self.counts["inserted"] += 1
            self.writes[key] = best
        elif self.stale(best, stored) or not differing(self.table, new, stored):
            self.counts["unchanged"] += 1
        else:
            self.counts["updated"] += 1
            self.counts["returned"] += self.revives and stored[DEPARTED_AT] is not None
            self.writes[key] = best

    @property
    def revives(self) -> bool:
        return self.file.on_departure == "mark"

    def written(self, entry: Entry) -> Values:
        return {**entry.values, DEPARTED_AT: None} if self.revives else entry.values

    def left_alone(self, key: str, stored: Values | None) -> bool:
        """Whether none of this key's rows was loaded, which is right too if one of them was rejected."""
        if all(entry.key != key for entry in self.rejected):
            return False
        there = self.after.get(key)
        return there is None if stored is None else there is not None and there.values == stored

    def stale(self, entry: Entry, stored: Values) -> bool:
        if not entry.values.get(EDITED) or not stored.get(EDITED):
            return False
        there = stored.get(DEPARTED_AT) is None and stored.get(DEPARTMENT_ID) is not None
        of_another = not self.file.plain and there and (stored[DEPARTMENT_ID] or "").lower() != DEPARTMENT
        if not (self.file.replay or self.file.plain or of_another):
            return False
        return moment(stored[EDITED]) > entry.edited

    def leavers(self) -> tuple[list[str], dict[str, str], list[str]]:
        """Those who were deleted, those who were marked, and those who were kept though they left."""
        if self.file.plain or self.superseded or self.file.on_departure == "keep":
            return [], {}, []
        known = {entry.key for entry in self.entries}
        left = [key for key in sorted(self.before.visible - known) if self.may_leave(self.before.rows[key].values)]
        gone = [key for key in left if key not in self.after]
        marked = {
            key: self.at for key in left if key in self.after and self.after[key].values.get(DEPARTED_AT) == self.at
        }
        marked = marked if self.revives else {}
        kept = [key for key in left if key not in gone and key not in marked]
        if None in known:
            unreadable = any("blank key" not in entry.bad for entry in self.entries if entry.key is None)
            if (gone or marked) and unreadable:
                self.fault("leavers", f"{gone or list(marked)} went though a key of the file cannot be read")
            if not (gone or marked):
                kept = []
        named = self.outcome.kept_leavers
        if named is not None and named != frozenset(kept):
            self.fault("leavers", f"kept are {kept}, named are {sorted(named)}")
        return gone, marked, kept

    def may_leave(self, stored: Values) -> bool:
        there = not self.revives or stored[DEPARTED_AT] is None
        return there and (stored[DEPARTMENT_ID] or "").lower() == DEPARTMENT

    def check_content(self, expected: dict[str, Stored]) -> None:
        """Every row of the table is as it must be; of this load's rows, count those that the table altered."""
        for key in sorted(expected.keys() | self.after.keys()):
            if key not in expected or key not in self.after:
                self.fault("a row is " + ("missing" if key in expected else "there"), f"{key} ({self.source(key)})")
                continue
            there = self.after[key].values
            for name in differing(self.table, there, expected[key].values):
                what = f"{key} {quoted(name)}: {there[name]!r} for {expected[key].values[name]!r} ({self.source(key)})"
                column = self.table.column(name)
                self.fault(f"a wrong value: {column.kind if column else ''}", what)
        altered = [
            key
            for key, entry in self.writes.items()
            if any(
                not same(self.table, name, value, expected[key].values[name]) for name, value in entry.values.items()
            )
        ]
        self.counts["altered"] = len(altered)

    def source(self, key: str) -> str:
        if key in self.writes:
            return f"line {self.writes[key].line}" + (f", {'updated' if key in self.before.rows else 'new'}")
        return "not to be written"

    def check_counts(self, departed: int) -> None:
        """The counts are those of the oracle, and add up."""
        counted = self.outcome.counts
        expected = {**self.counts, "departed": departed}
        for name, number in expected.items():
            slack = self.slack if name in {"duplicates", "unchanged"} else 0
            if name in counted and abs(counted[name] - number) > slack:
                self.fault(f"a wrong count: {name}", f"{name}={counted[name]}, counted {number}")
        parts = ("inserted", "updated", "unchanged", "duplicates", "rejected")
        if counted["read"] != sum(counted[name] for name in parts):
            self.fault("a wrong count", f"they do not add up: {counted}")
