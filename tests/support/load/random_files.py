"""Random rows and snapshots, from so few keys and values that they swap, rotate, repeat and take each other's place."""

import random
from dataclasses import dataclass, replace

from tests.support.load.kinds import KINDS
from tests.support.load.random_table import TEAMS
from tests.support.load.table import DEPARTMENT_ID, EDITED, KEY, SUPERVISOR, TEAM, Column, Table
from tests.support.loader import DEPARTMENT

OTHER_DEPARTMENT = "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d22"
Row = dict[str, str | None]


@dataclass(frozen=True)
class File:
    """One object, and how it is loaded. `minute` is its snapshot's time."""

    header: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    minute: int
    plain: bool = False
    replay: bool = False
    on_departure: str = "keep"
    dry_run_first: bool = False

    def row(self, index: int) -> Row:
        return dict(zip(self.header, self.rows[index], strict=True))


def key_of(number: int, kind: str) -> str:
    return f"00000000-0000-4000-8000-00000000000{number}" if kind == "uuid" else f"m{number}"


class Author:
    """Writes the rows of one case: keys 1 to 8, and a handful of values for each column."""

    def __init__(self, rng: random.Random, table: Table) -> None:
        self.rng, self.table = rng, table
        self.pools = {c.name: self._pool(c) for c in table.columns if c.kind in KINDS}
        self.nulls = {c.name: 0.02 if c.required else 0.12 for c in table.columns}

    def _pool(self, column: Column) -> list[str]:
        good = column.meaning.good
        return self.rng.sample(good, min(len(good), self.rng.randint(2, 6)))

    def keys(self) -> list[str]:
        return [key_of(number, self.table.key_kind) for number in range(1, 9)]

    def cell(self, column: Column, *, may_be_bad: bool = True) -> str | None:
        rng = self.rng
        if rng.random() < self.nulls[column.name]:
            return None
        if column.name == SUPERVISOR:
            return None if rng.random() < 0.3 and not column.required else rng.choice(self.keys()[:5])
        if column.name == TEAM:
            return rng.choice([*TEAMS * 6, "green"])
        if may_be_bad and column.meaning.bad and rng.random() < 0.015:
            return rng.choice(column.meaning.bad)
        return rng.choice(self.pools[column.name])

    def row(self, key: str, *, may_be_bad: bool = True) -> Row:
        row = {c.name: self.cell(c, may_be_bad=may_be_bad) for c in self.table.columns if c.in_file}
        return {**row, KEY: key, DEPARTMENT_ID: DEPARTMENT}

    def people(self, least: int, most: int) -> list[Row]:
        keys = sorted(self.rng.sample(self.keys(), self.rng.randint(least, most)))
        return [self.row(key) for key in keys]

    def stored(self) -> list[Row]:
        """What is in the table before the first load; some of another department."""
        rows = self.people(2, 7)
        return [{**row, DEPARTMENT_ID: OTHER_DEPARTMENT} if self.rng.random() < 0.15 else row for row in rows]

    def changed(self, people: list[Row]) -> list[Row]:
        """The same people a night later."""
        rows = [dict(row) for row in people]
        changes = [self.swap, self.rotate, self.leave, self.join, self.edit, self.edit, self.replace, self.circle]
        if self.rng.random() < 0.3:
            changes += [self.repeat, self.blur_key, self.respell]
        for change in self.rng.choices(changes, k=self.rng.randint(1, 5)):
            if rows:
                change(rows)
        if self.rng.random() < 0.4:
            self.rng.shuffle(rows)
        return rows

    def _column(self) -> str:
        names = [c.name for c in self.table.loaded if c.name not in {KEY, DEPARTMENT_ID}]
        return self.rng.choice(names)

    def swap(self, rows: list[Row]) -> None:
        one, two = self.rng.choice(rows), self.rng.choice(rows)
        name = self._column()
        one[name], two[name] = two[name], one[name]

    def rotate(self, rows: list[Row]) -> None:
        name, some = self._column(), self.rng.sample(rows, min(len(rows), self.rng.randint(2, 6)))
        values = [row[name] for row in some]
        for row, value in zip(some, values[1:] + values[:1], strict=True):
            row[name] = value

    def leave(self, rows: list[Row]) -> None:
        rows.remove(self.rng.choice(rows))

    def join(self, rows: list[Row]) -> None:
        absent = [key for key in self.keys() if key not in {row[KEY] for row in rows}]
        rows.append(self.row(self.rng.choice(absent or self.keys())))

    def replace(self, rows: list[Row]) -> None:
        """Somebody is deleted and created anew, under another key."""
        absent = [key for key in self.keys() if key not in {row[KEY] for row in rows}]
        self.rng.choice(rows)[KEY] = self.rng.choice(absent or self.keys())

    def edit(self, rows: list[Row]) -> None:
        row, name = self.rng.choice(rows), self._column()
        row[name] = self.cell(next(c for c in self.table.columns if c.name == name))

    def circle(self, rows: list[Row]) -> None:
        """Two people supervise each other."""
        one, two = self.rng.choice(rows), self.rng.choice(rows)
        if SUPERVISOR in one:
            one[SUPERVISOR], two[SUPERVISOR] = two[KEY], one[KEY]

    def repeat(self, rows: list[Row]) -> None:
        row = dict(self.rng.choice(rows))
        for name in (self._column(), EDITED):
            if name in row:
                row[name] = self.cell(next(c for c in self.table.columns if c.name == name))
        rows.insert(self.rng.randint(0, len(rows)), row)

    def blur_key(self, rows: list[Row]) -> None:
        self.rng.choice(rows)[KEY] = self.rng.choice([None, "", " ", "s3cret"])

    def respell(self, rows: list[Row]) -> None:
        row = self.rng.choice(rows)
        if self.table.key_kind == "uuid" and row[KEY]:
            key = str(row[KEY])
            row[KEY] = self.rng.choice([key.upper(), "{" + key + "}", key.replace("-", "")])

    def file(self, rows: list[Row], minute: int) -> File:
        rng = self.rng
        header = [c.name for c in self.table.columns if c.in_file]
        header += ["lacking"] if rng.random() < 0.15 else []
        rng.shuffle(header)
        plain = rng.random() < 0.15
        marks = ["mark"] if self.table.column("departed_at") else []
        return File(
            tuple(header),
            tuple(tuple(row.get(name) for name in header) for row in rows),
            minute,
            plain=plain,
            replay=not plain and rng.random() < 0.2,
            on_departure=rng.choice(["keep", "delete", "delete", *marks]),
            dry_run_first=rng.random() < 0.5,
        )


def files(author: Author, stored: list[Row], count: int) -> list[File]:
    """Snapshots, one after the other; the last comes twice."""
    people, found = stored, []
    for number in range(count):
        people = author.changed(people or author.people(1, 4))
        rows = [{**row, DEPARTMENT_ID: DEPARTMENT} for row in people]
        found.append(author.file(rows, 10 * (number + 1)))
    older = found[-1].replay and author.rng.random() < 0.5
    found[-1] = replace(found[-1], minute=5 if older else found[-1].minute)
    return found
