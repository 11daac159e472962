"""What a load must have done, worked out on the copy of the table."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from tests.support.load.random_files import File
from tests.support.load.server import Refused, Server, Stored, Values
from tests.support.load.table import DEPARTED_AT, EDITED, KEY, Table
from tests.support.load.values import parsed_json


@dataclass(frozen=True)
class Entry:
    """One row of the file, as the contract reads it."""

    index: int
    line: int
    must: bool | None
    """As in values.Meaning, for the whole row."""
    bad: tuple[str, ...]
    """The columns that cannot be read, with their types."""
    key: str | None
    """None where it cannot be read."""
    values: Values = field(default_factory=dict)
    """The loaded columns' text forms."""

    @property
    def edited(self) -> datetime:
        return moment(self.values.get(EDITED))


def moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None) if text else datetime.min


def entries(server: Server, table: Table, file: File) -> list[Entry]:
    """Every row of the file."""
    found, line = [], 2
    loaded = [column for column in table.loaded if column.name in file.header]
    for index, raw in enumerate(file.rows):
        row = file.row(index)
        meanings = {c.name: c.meaning.cast(str(row[c.name])) for c in loaded if row[c.name] is not None}
        bad = tuple(f"{c.name} ({c.kind})" for c in loaded if c.name in meanings and meanings[c.name].must is False)
        if not (row[KEY] or "").strip():
            bad = (*bad, "blank key")
        must: bool | None = False if bad else None if any(m.must is None for m in meanings.values()) else True
        key = meanings[KEY].literal if KEY in meanings and (row[KEY] or "").strip() else None
        literals = {c.name: meanings[c.name].literal if c.name in meanings else None for c in loaded}
        values = server.canonical([literals])[0] if not bad else {}
        found.append(Entry(index, line, must, bad, key, values))
        line += 1 + sum((value or "").count("\n") for value in raw)
    return found


def winner(rows: Iterable[Entry]) -> Entry:
    """Of the rows of one key: the newest, then the last."""
    return max(rows, key=lambda entry: (entry.edited, entry.index))


def same(table: Table, name: str, one: str | None, two: str | None) -> bool:
    """Whether two text forms are the same value: json by what it says."""
    column = table.column(name)
    if one is None or two is None or column is None or column.kind not in {"json", "jsonb"}:
        return one == two
    return bool(parsed_json(one) == parsed_json(two))


def differing(table: Table, one: Values, two: Values) -> list[str]:
    """The columns of `one` that `two` has otherwise."""
    return [name for name, value in one.items() if not same(table, name, value, two.get(name))]


class Oracle:
    """The copy of the table as it was before a load, and trials of final states in it."""

    def __init__(self, server: Server, before: dict[str, Stored], visible: set[str], outside: list[str]) -> None:
        self.server, self.table, self.before, self.visible = server, server.table, before, visible
        server.run("SAVEPOINT empty")
        server.fill([stored.values for stored in before.values()], outside)

    def close(self) -> None:
        self.server.run("ROLLBACK TO SAVEPOINT empty")

    @contextmanager
    def trial(self) -> Iterator[None]:
        """What happens inside is undone."""
        self.server.run("SAVEPOINT trial; SET CONSTRAINTS ALL DEFERRED")
        try:
            yield
        finally:
            self.server.run("ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial")

    def apply(self, writes: list[Values], deleted: Iterable[str] = (), marked: dict[str, str] | None = None) -> None:
        """Write these rows, then let the leavers go, as one final state; Refused where it does not hold."""
        for row in writes:
            self.put(row)
        for key, at in (marked or {}).items():
            self.server.write(self.server.copy_name, {KEY: key, DEPARTED_AT: at}, exists=True)
        for key in deleted:
            self.server.remove(self.server.copy_name, key)
        self.server.settle()

    def put(self, row: Values) -> None:
        self.server.write(self.server.copy_name, row, exists=row[KEY] in self.visible)

    def holds(self, writes: list[Values], deleted: Iterable[str] = (), marked: dict[str, str] | None = None) -> bool:
        """Whether this would be a valid final state."""
        with self.trial():
            try:
                self.apply(writes, deleted, marked)
            except Refused:
                return False
            return True

    def content(self) -> dict[str, Stored]:
        """The copy as it is now, hidden rows too."""
        self.server.run("RESET ROLE")
        found = self.server.read(self.server.copy_name)
        self.server.run("SET LOCAL ROLE loader")
        return found
