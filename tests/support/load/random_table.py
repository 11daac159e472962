"""Random tables."""

import random
from dataclasses import replace

from tests.support.load.kinds import KINDS, PLAIN
from tests.support.load.table import (
    DEPARTED_AT,
    DEPARTMENT_ID,
    EDITED,
    KEY,
    SUPERVISOR,
    TEAM,
    Column,
    Table,
    Trigger,
    Unique,
    quoted,
)

COLUMN_NAMES = (
    "user_name", "email_address", "first_name", "last_name", "gender", "external_id", "custom_fields", "notes",
    "date_hired", "Weird Col", "order", "100%", "a{b}", "ünïcode", 'quo"te',
)  # fmt: skip
TIMINGS = ("", "", "DEFERRABLE INITIALLY IMMEDIATE", "DEFERRABLE INITIALLY DEFERRED")
TEAMS = ("red", "blue")


def random_table(rng: random.Random) -> Table:
    """A table with two to five columns of random types, and up to a handful of things that constrain them."""
    key_kind = rng.choice(["uuid", "uuid", "text"])
    partitions = rng.choice([0, 0, 0, 0, 0, 0, 0, 2, 3])
    columns = _columns(rng, key_kind)
    table = Table(
        key_kind,
        rng.choice(["PRIMARY KEY", "PRIMARY KEY", "UNIQUE", "INDEX"]),
        tuple(columns),
        uniques=() if partitions else tuple(_uniques(rng, columns)),
        checks=tuple(_checks(rng, columns)),
        self_reference=rng.choice(TIMINGS) if any(c.name == SUPERVISOR for c in columns) else None,
        team_reference=rng.choice(TIMINGS) if any(c.name == TEAM for c in columns) else None,
        teams_readable=rng.random() < 0.7,
        outside=rng.random() < 0.25,
        partitions=partitions,
    )
    table = replace(table, triggers=tuple(_triggers(rng, table)))
    return _secured(rng, table) if rng.random() < 0.12 else table


def _columns(rng: random.Random, key_kind: str) -> list[Column]:
    columns = [Column(KEY, key_kind), Column(DEPARTMENT_ID, rng.choice(["uuid", "text"]))]
    if rng.random() < 0.7:
        columns.append(Column(EDITED, rng.choice(["edited", "edited0"]), in_file=rng.random() < 0.9))
    if rng.random() < 0.85:
        columns.append(Column(DEPARTED_AT, "timestamptz", in_file=False))
    if rng.random() < 0.45:
        columns.append(Column(SUPERVISOR, key_kind, required=rng.random() < 0.1))
    if rng.random() < 0.25:
        columns.append(Column(TEAM, "text", required=rng.random() < 0.2))
    for name in rng.sample(COLUMN_NAMES, rng.randint(1, 4)):
        kind = rng.choice(["text", "varchar", "ci", "integer", *PLAIN])
        columns.append(Column(name, kind, required=rng.random() < 0.15, in_file=True))
    if rng.random() < 0.3:
        columns.append(
            Column("untouched", "text", required=rng.random() < 0.5, extra="DEFAULT 'default'", in_file=False)
        )
    texts = [c for c in columns if c.in_file and c.kind in {"text", "varchar", "short"} and c.name != TEAM]
    if texts and rng.random() < 0.15:
        made = f"GENERATED ALWAYS AS (upper({quoted(rng.choice(texts).name)})) STORED"
        columns.append(Column("computed", "text", extra=made, in_file=rng.random() < 0.3))
    rng.shuffle(columns)
    return columns


def free(columns: list[Column]) -> list[Column]:
    """Those that may be constrained: filled by the file, and with no meaning to the load."""
    fixed = {KEY, DEPARTMENT_ID, EDITED, SUPERVISOR, TEAM}
    return [c for c in columns if c.in_file and not c.generated and c.name not in fixed]


def _uniques(rng: random.Random, columns: list[Column]) -> list[Unique]:
    found = []
    for column in free(columns):
        kind, name = KINDS[column.kind], quoted(column.name)
        if column.kind == "range" and rng.random() < 0.7:
            found.append(Unique((name,), "exclude", timing=rng.choice(TIMINGS), method="gist", operator="&&"))
        if not kind.unique or rng.random() > 0.45:
            continue
        nulls = "NULLS NOT DISTINCT" if rng.random() < 0.1 else ""
        choice = rng.randrange(6)
        if choice <= 2:
            found.append(Unique((name,), timing=rng.choice(TIMINGS), nulls=nulls))
        elif choice == 3 and kind.is_text:
            expression = f"lower({name}::text)"
            how = rng.choice(["index", "exclude"])
            found.append(Unique((expression,), how, timing=rng.choice(TIMINGS) if how == "exclude" else ""))
        elif choice == 4:
            how = rng.choice(["index", "exclude"])
            where = f"{quoted(rng.choice(columns).name)} IS NOT NULL"
            found.append(Unique((name,), how, where=where, timing=rng.choice(TIMINGS) if how == "exclude" else ""))
        else:
            others = [quoted(o.name) for o in free(columns) if KINDS[o.kind].unique and o is not column]
            found.append(Unique((name, rng.choice([*others, quoted(DEPARTMENT_ID)])), timing=rng.choice(TIMINGS)))
    return found


def _checks(rng: random.Random, columns: list[Column]) -> list[str]:
    checks = []
    for column in free(columns):
        kind, name = KINDS[column.kind], quoted(column.name)
        if kind.is_text and rng.random() < 0.15:
            checks.append(
                rng.choice(
                    [
                        f"{name}::text <> 'bob'",
                        f"{name}::text = lower({name}::text)",
                        f"{name} IS NOT NULL OR {DEPARTMENT_ID} IS NULL",
                    ]
                )
            )
        if column.kind in {"integer", "numeric", "small"} and rng.random() < 0.2:
            checks.append(f"{name} <> 7")
    pair = rng.sample(free(columns), 2) if len(free(columns)) > 1 else []
    if pair and rng.random() < 0.15:
        checks.append(f"{quoted(pair[0].name)} IS NULL OR {quoted(pair[1].name)} IS NOT NULL")
    if any(c.name == SUPERVISOR for c in columns) and rng.random() < 0.15:
        checks.append(f"{SUPERVISOR} <> {KEY}")
    return checks


def _triggers(rng: random.Random, table: Table) -> list[Trigger]:
    found = []
    columns = [c for c in free(list(table.columns)) if c.meaning.is_text]
    for column in columns:
        value = rng.choice(column.meaning.good)
        events, roll = rng.choice(["INSERT OR UPDATE", "INSERT OR UPDATE", "UPDATE"]), rng.random()
        if roll < 0.1 and column.kind in {"text", "varchar", "ci"}:
            found.append(Trigger("lower", column.name))
        elif roll < 0.18:
            found.append(Trigger("refuse", column.name, value, events))
        elif roll < 0.26:
            found.append(Trigger("drop", column.name, value, events))
        elif roll < 0.30:
            found.append(Trigger("defer", column.name, value, events))
        elif roll < 0.33:
            found.append(Trigger("hold", column.name, value))
    if rng.random() < 0.1:
        found.append(Trigger("nothing"))
    if table.column("untouched") and rng.random() < 0.3:
        found.append(Trigger("stamp", "untouched"))
    return found


def _secured(rng: random.Random, table: Table) -> Table:
    texts = [c for c in free(list(table.columns)) if c.meaning.is_text]
    if not texts:
        return table
    column = rng.choice(texts)
    rule = f"{quoted(column.name)}::text IS DISTINCT FROM '{rng.choice(['bob', 'ann', 'cy'])}'"
    return replace(table, hidden=rule) if rng.random() < 0.5 else replace(table, refused=rule)
