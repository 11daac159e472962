"""One random case: a table, what is in it, and snapshots that are loaded into it and judged."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tasks.errors import PipelineError
from tasks.load.schema import TableSchema, inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tasks.s3 import Snapshot
from tests.support.load.edits import EDITS, HARMLESS, meddle
from tests.support.load.judge import Before, Fault, Judge, Outcome
from tests.support.load.oracle import Entry, entries
from tests.support.load.random_files import Author, File, Row, files
from tests.support.load.random_table import random_table
from tests.support.load.server import Refused, Server, Stored
from tests.support.load.table import Table, create
from tests.support.snapshots import BEGAN, snapshot

LIMITS = {"max_rejected": "100%", "max_departures": "100%", "max_emptied": "100%"}
ALL_LIMITS = {name: limit for name, limit in LIMITS.items() if hasattr(LoadOptions(), name)}


@dataclass(frozen=True)
class Case:
    """Everything that a case is made of; small enough to be read."""

    seed: int
    table: Table
    stored: tuple[Row, ...]
    files: tuple[File, ...]
    repeat: bool = True

    def told(self, schema: str) -> str:
        """The case as text, to be repeated by hand."""
        lines = [f"seed {self.seed}", *create(self.table, schema, "members"), "stored before:"]
        lines += [f"  {row}" for row in self.stored]
        for file in self.files:
            chosen = ("minute", "plain", "replay", "on_departure", "dry_run_first")
            lines.append("file " + ", ".join(f"{name}={getattr(file, name)}" for name in chosen))
            lines += [f"  line {number}: {file.row(number)}" for number in range(len(file.rows))]
        return "\n".join([*lines, f"last one twice: {self.repeat}"])


def random_case(seed: int) -> Case:
    rng = random.Random(seed)
    table = random_table(rng)
    author = Author(rng, table)
    stored = author.stored()
    return Case(seed, table, tuple(stored), tuple(files(author, stored, rng.choice([1, 1, 2, 3]))))


@dataclass
class Stage:
    """Where cases are played: a server, a folder for the files, and how a load's rejects are caught."""

    server: Server
    folder: Path
    rejects: Callable[[], dict[int, tuple[str, str]]]
    """The lines, columns and reasons of the last load's reject file."""
    done: Counter[str] = field(default_factory=Counter)
    loads: int = 0
    newest: int = 0
    """The minute of the newest snapshot that this case has loaded."""
    table: TableSchema = field(init=False)
    history: bool = False
    """Whether the loads of this case keep one; its current rows must then be the table's."""

    def play(self, case: Case) -> list[Fault]:
        """The faults of the first load that has any."""
        self.server.begin(case.table)
        self.newest = 0
        self.history = case.seed % 2 == 0
        try:
            self.store(case)
            self.table = inspect_schema.fn(self.server.schema, self.server.name)
            rng = random.Random(case.seed)
            for number, file in enumerate(case.files):
                if number:
                    self.done[f"edited by {meddle(rng, self.server, HARMLESS if self.history else EDITS)}"] += 1
                if faults := self.load(file):
                    return faults
            if not case.repeat or not case.files:
                return []
            self.done[f"edited by {meddle(rng, self.server, HARMLESS)}"] += 1
            return self.again(case.files[-1])
        finally:
            self.server.end()

    def store(self, case: Case) -> None:
        """Those of the first rows that the table takes."""
        server, names = self.server, tuple(case.stored[0]) if case.stored else ()
        first = File(names, tuple(tuple(row.values()) for row in case.stored), 0)
        for entry in entries(server, case.table, first) if case.stored else []:
            server.run("SAVEPOINT row; SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL ROLE loader")
            try:
                if entry.must is not False:
                    server.write(server.name, entry.values, exists=False)
            except Refused:
                server.run("ROLLBACK TO SAVEPOINT row")
            server.run("RELEASE SAVEPOINT row; RESET ROLE")
        if case.table.outside:
            rng = random.Random(case.seed)
            keys = sorted(server.read(server.name))
            server.reference(server.name, rng.sample(keys, min(len(keys), 2)))
        server.connection.commit()

    def load(self, file: File) -> list[Fault]:
        """Load it, after a dry run perhaps, and judge what became of it."""
        before = self.look()
        dry: Any = None
        if file.dry_run_first:
            dry, faults = self.attempt(file, dry_run=True)
            if faults or self.look().rows != before.rows:
                return [*faults, *([] if faults else [Fault("a dry run", "changed the table")])]
        loaded, faults = self.attempt(file)
        if faults:
            return faults
        after = self.look().rows
        if loaded.skipped is None:
            faults = self.judged(file, before, after, loaded)
        elif before.rows != after:
            faults = [Fault("a skipped load", "changed the table")]
        if self.history and loaded.skipped is None and not faults:
            faults = self.judged_history()
        if dry is not None and dry.counts() != loaded.counts():
            faults.append(Fault("a dry run", f"counts {dry.counts()}, the load {loaded.counts()}"))
        return faults

    def judged(self, file: File, before: Before, after: dict[str, Stored], loaded: Any) -> list[Fault]:
        kept = getattr(loaded, "kept_leavers", None)
        outcome = Outcome(
            loaded.counts(), self.rejects() if loaded.rejected else {}, kept if kept is None else named(kept)
        )
        at = f"{BEGAN + timedelta(minutes=file.minute):%Y-%m-%d %H:%M:%S}+00"
        judge = Judge(self.server, file, at, before, after, outcome, superseded=file.minute < self.newest)
        faults = judge.judge()
        self.server.connection.rollback()
        self.newest = self.newest if file.plain else max(self.newest, file.minute)
        self.done["recognised"] += int(loaded.recognised.partition(" ")[0] or 0)
        if len(outcome.rejected) != loaded.rejected:
            faults.append(Fault("reject file", f"{len(outcome.rejected)} rows, counted {loaded.rejected}"))
        self.done.update({"loads": 1, **{name: n for name, n in loaded.counts().items() if n}})
        self.done["untouched detours"] += sum("DEFERRABLE" in reason for _, reason in outcome.rejected.values())
        return faults

    def judged_history(self) -> list[Fault]:
        table, kept = self.server.current(self.server.name), self.server.current(f"{self.server.name}_history_current")
        self.server.connection.rollback()
        wrong = sorted(key for key in table.keys() | kept.keys() if table.get(key) != kept.get(key))
        self.done["histories"] += 1
        return [Fault("the history", f"{key}: {table.get(key)} is {kept.get(key)} there") for key in wrong[:1]]

    def again(self, file: File) -> list[Fault]:
        """The same once more, as another version: nothing changes but what a trigger rewrites."""
        before = self.look()
        altered = self.altered(file, before)
        later = replace(file, minute=file.minute + 1)
        loaded, faults = self.attempt(later)
        after = self.look()
        if faults:
            return faults
        for key in sorted(before.rows.keys() | after.rows.keys()):
            if before.rows.get(key) != after.rows.get(key) and key not in altered:
                faults.append(Fault("a second load", f"rewrote {key}: {before.rows.get(key)} {after.rows.get(key)}"))
        return faults or self.judged(later, before, after.rows, loaded)

    def altered(self, file: File, before: Before) -> set[str]:
        """The keys whose rows a trigger of the table may rewrite, load after load."""
        found: list[Entry] = entries(self.server, self.server.table, file) if self.server.table.triggers else []
        self.server.connection.rollback()
        rewriting = any(trigger.does in {"lower", "drop", "stamp"} for trigger in self.server.table.triggers)
        return {str(entry.key) for entry in found} if rewriting else set()

    def look(self) -> Before:
        server = self.server
        seen = Before(server.read(server.name), server.visible(), server.referenced())
        server.connection.rollback()
        return seen

    def attempt(self, file: File, *, dry_run: bool = False) -> tuple[Any, list[Fault]]:
        """What the load said; or what it raised, as a fault."""
        self.loads += 1
        options: Any = {**ALL_LIMITS, "replay": file.replay, "on_departure": file.on_departure, "dry_run": dry_run}
        options["history"] = self.history
        try:
            return upsert_snapshot.fn(self.object(file), self.table, LoadOptions(**options)), []
        except PipelineError as error:
            state = re.search(r"SQLSTATE (\w{5})|permission denied", str(error))
            return None, [Fault(f"raised {type(error).__name__} {state[0] if state else ''}", str(error))]
        except Exception as error:
            return None, [Fault(f"raised {type(error).__name__}", repr(error)[:2000])]

    def object(self, file: File) -> Snapshot:
        path = self.folder / "members.csv"
        lines = [file.header, *file.rows]
        path.write_text("".join(",".join(map(field_of, line)) + "\n" for line in lines), encoding="utf-8", newline="")
        made = snapshot(path, self.loads, rows=None if file.plain else len(file.rows))
        return made if file.plain else replace(made, snapshot_at=BEGAN + timedelta(minutes=file.minute))


def named(kept: Iterable[str]) -> frozenset[str]:
    """The keys: each stands before its reason."""
    return frozenset(text.partition(" (")[0] for text in kept)


def field_of(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'
