"""What other people do to a table between two loads, in every way that we could think of."""

import random
from collections.abc import Callable

from tests.support.load.server import Server
from tests.support.load.table import KEY, quoted


def nothing(rng: random.Random, server: Server) -> None:
    """Most nights."""


def touched(rng: random.Random, server: Server) -> None:
    """Rows are written without a change."""
    server.run(f"UPDATE {server.address(server.name)} SET {quoted(KEY)} = {quoted(KEY)} WHERE random() < 0.5")


def changed(rng: random.Random, server: Server) -> None:
    """One column of some rows takes another row's value, or none."""
    column = quoted(rng.choice([c.name for c in server.table.columns if c.name != KEY] or [KEY]))
    table = server.address(server.name)
    value = rng.choice(["NULL", f"(SELECT {column} FROM {table} LIMIT 1)"])
    server.run(f"UPDATE {table} SET {column} = {value} WHERE random() < 0.5")


def deleted(rng: random.Random, server: Server) -> None:
    """Some rows are gone."""
    server.run(f"DELETE FROM {server.address(server.name)} WHERE random() < 0.3")


def restored(rng: random.Random, server: Server) -> None:
    """Everything is deleted and put back, perhaps in another order."""
    if server.table.outside:
        raise NotImplementedError("what refers to the rows would go with them")
    table = server.address(server.name)
    server.run(f"CREATE TEMPORARY TABLE backup ON COMMIT DROP AS SELECT * FROM {table}")
    names = ", ".join(quoted(c.name) for c in server.table.columns)
    server.run(f"TRUNCATE {table} CASCADE")
    server.run(f"INSERT INTO {table} ({names}) SELECT {names} FROM backup ORDER BY random()")


def forgotten(rng: random.Random, server: Server) -> None:
    """The fingerprints are deleted, all or some, or their table is gone."""
    beside = server.address(server.name + "_fingerprints")
    server.run(rng.choice([f"DROP TABLE {beside}", f"DELETE FROM {beside} WHERE random() < 0.5", f"TRUNCATE {beside}"]))


def exchanged(rng: random.Random, server: Server) -> None:
    """Two rows change places: each has the other's values, in a new version."""
    column = quoted(rng.choice([c.name for c in server.table.columns if c.name != KEY] or [KEY]))
    table = server.address(server.name)
    server.run(
        f"UPDATE {table} AS t SET {column} = o.{column} FROM {table} AS o "
        f"WHERE t.{quoted(KEY)} <> o.{quoted(KEY)} AND random() < 0.5"
    )


Edit = Callable[[random.Random, Server], None]
HARMLESS: tuple[Edit, ...] = (nothing, nothing, touched, restored, forgotten)
"""After which every row has the values that it had."""
EDITS: tuple[Edit, ...] = (*HARMLESS, changed, deleted, exchanged)


def meddle(rng: random.Random, server: Server, edits: tuple[Edit, ...] = EDITS) -> str:
    """Let somebody edit the table; by what. What the table refuses is not done."""
    edit = rng.choice(edits)
    server.run(f"SELECT setseed({rng.random()})")
    server.run("SAVEPOINT edit; SET LOCAL session_replication_role = 'origin'")
    try:
        edit(rng, server)
        server.connection.commit()
    except Exception:
        server.connection.rollback()
        return "nobody, since the table refused"
    return edit.__name__
