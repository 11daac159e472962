"""A failing case made small: whatever can be left out while the same kind of fault stays."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.support.load.case import Case, Stage
from tests.support.load.judge import Fault
from tests.support.load.table import DEPARTMENT_ID, KEY


def shrunk(stage: Stage, case: Case, faults: list[Fault], tries: int = 80) -> tuple[Case, list[Fault]]:
    """The smallest case found in that many tries, and its faults."""
    kind, smaller = faults[0].kind, True
    while smaller and tries > 0:
        smaller = False
        for candidate in simpler(case):
            tries -= 1
            found = quietly(stage, candidate) if tries > 0 else []
            if found and found[0].kind == kind:
                case, faults, smaller = candidate, found, True
                break
    return case, faults


def quietly(stage: Stage, case: Case) -> list[Fault]:
    """Its faults; none where the smaller table cannot even be made."""
    try:
        return stage.play(case)
    except Exception:
        stage.server.connection.rollback()
        return []


def simpler(case: Case) -> Iterator[Case]:
    """The case with one thing less."""
    for files in without_one(case.files):
        yield replace(case, files=files)
    if case.repeat:
        yield replace(case, repeat=False)
    for stored in without_one(case.stored):
        yield replace(case, stored=stored)
    for index, file in enumerate(case.files):
        for rows in without_one(file.rows):
            yield replace(case, files=put(case.files, index, replace(file, rows=rows)))
        for plainer in ({"dry_run_first": False}, {"replay": False}, {"on_departure": "keep"}):
            made = replace(file, **plainer)
            if made != file:
                yield replace(case, files=put(case.files, index, made))
    yield from simpler_tables(case)


def simpler_tables(case: Case) -> Iterator[Case]:
    table = case.table
    for name in ("triggers", "checks", "uniques"):
        for rest in without_one(getattr(table, name)):
            changed: Any = {name: rest}
            yield replace(case, table=replace(table, **changed))
    absent: Any = {
        "outside": False,
        "partitions": 0,
        "hidden": None,
        "refused": None,
        "self_reference": None,
        "team_reference": None,
        "key_how": "PRIMARY KEY",
    }
    for name, value in absent.items():
        if getattr(table, name) != value:
            yield replace(case, table=replace(table, **{name: value}))
    for column in table.columns:
        if column.name not in {KEY, DEPARTMENT_ID}:
            yield without_column(case, column.name)


def without_column(case: Case, name: str) -> Case:
    table = replace(case.table, columns=tuple(c for c in case.table.columns if c.name != name))
    stored = tuple({key: value for key, value in row.items() if key != name} for row in case.stored)
    files = []
    for file in case.files:
        keep = [index for index, column in enumerate(file.header) if column != name]
        rows = tuple(tuple(row[index] for index in keep) for row in file.rows)
        files.append(replace(file, header=tuple(file.header[index] for index in keep), rows=rows))
    return replace(case, table=table, stored=stored, files=tuple(files))


def without_one(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for index in range(len(items)):
        yield items[:index] + items[index + 1 :]


def put(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    return (*items[:index], item, *items[index + 1 :])
