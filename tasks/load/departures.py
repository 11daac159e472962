"""Leavers: rows of the snapshot's scope that are in the table but no longer in the LMS.

The LMS does not report who left; absence from a complete snapshot is the only sign. So leavers are taken only from a
complete snapshot, only in its own scope, and never more than a limit.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor

from tasks.columns import DEPARTED_AT
from tasks.errors import SchemaMismatch, TooManyDepartures
from tasks.load.database import execute, one_row, quoted
from tasks.load.plan import Merge
from tasks.load.reasons import Reasons
from tasks.load.schema import ForeignKey, TableSchema
from tasks.options import LoadOptions, OnDeparture, allowed
from tasks.s3 import Snapshot
from tasks.snapshot_ids import SnapshotIds, places_of

NAMED = 10
"""How many kept leavers are listed by key."""


@dataclass(frozen=True)
class Departures:
    """What became of the leavers."""

    departed: int = 0
    kept: tuple[str, ...] = ()
    """The keys of those that the table did not let go, each with the reason."""
    skipped: str = ""
    """Why leavers were not looked for."""


def check_columns(table: TableSchema, on_departure: OnDeparture) -> None:
    """Raise SchemaMismatch where the table lacks a column that finding or marking leavers needs."""
    scope = table.stream.scope_column
    needed = {"keep": [], "mark": [scope, DEPARTED_AT], "delete": [scope]}[on_departure]
    for name in needed:
        if table.column(name) is None:
            kind = "timestamptz" if name == DEPARTED_AT else "uuid"
            raise SchemaMismatch(
                f"{table.quoted} has no column {name}, which on_departure {on_departure} needs. "
                f"Add it: ALTER TABLE {table.quoted} ADD COLUMN {name} {kind}."
            )


def departure_statement(table: TableSchema, options: LoadOptions, snapshot: Snapshot) -> str | None:
    """What becomes of leavers, as SQL that ends in AND; None where they stay."""
    if options.on_departure == "keep" or snapshot.is_plain:
        return None
    match = f"WHERE t.{quoted(table.stream.key_column)} = l._key AND"
    if options.on_departure == "delete":
        return f"DELETE FROM {table.quoted} AS t USING pg_temp.leavers AS l {match}"
    return f"UPDATE {table.quoted} AS t SET {DEPARTED_AT} = l._at FROM pg_temp.leavers AS l {match}"


def find_leavers(
    cursor: Cursor,
    merge: Merge,
    snapshot: Snapshot,
    options: LoadOptions,
    nameless: int,
    newer: datetime | None,
    ids_in_run: SnapshotIds | None,
) -> Departures:
    """Fill `pg_temp.leavers`; who is kept in any case, or why nobody was looked for.

    Args:
        nameless: how many rejected rows have no key that can be read.
        newer: the time of a newer snapshot of the department that was loaded, if this is a replay of an older one.
        ids_in_run: the ids that the snapshots of the same run hold; who is among them has moved, not left.

    Raises:
        TooManyDepartures: they are more than `max_departures` of those present.
    """
    key_type = merge.alignment.key.staged_as
    # _number: rows are named by record, and leavers, which have none, by the negative of this
    cursor.execute(f"CREATE TEMPORARY TABLE leavers (_number serial, _key {key_type}, _at timestamptz) ON COMMIT DROP")
    if merge.departure_statement is None:
        return Departures()
    if newer is not None:
        return Departures(
            skipped=f"a newer snapshot, of {newer.isoformat()}, was already loaded; members who joined since are not "
            "in this one, so nobody counts as a leaver"
        )
    if nameless:
        return Departures(
            skipped=f"{nameless} rejected rows have no readable key and could belong to anybody, so nobody counts as "
            "a leaver until they are corrected"
        )
    present = f"AND t.{DEPARTED_AT} IS NULL" if options.on_departure == "mark" else ""
    if snapshot.scope is None or merge.of_scope is None:
        raise ValueError("expected a snapshot with a scope, since a plain file has no leavers")
    scope, items = snapshot.scope, snapshot.scope.stream.item_noun
    parts = {**merge.target, "present": present, "of_scope": merge.of_scope}
    execute(cursor, "leavers", **parts)
    absent = cursor.rowcount - (drop_moved(cursor, ids_in_run) if ids_in_run is not None else 0)
    # they were gone when the snapshot was taken, however late it is loaded
    cursor.execute("UPDATE pg_temp.leavers SET _at = %s", (snapshot.snapshot_at,))
    execute(cursor, "present", **parts)
    [members] = one_row(cursor)
    if absent > allowed(options.max_departures, members):
        raise TooManyDepartures(
            f"{scope}: expected at most {options.max_departures} of {members} {items} to have left, found {absent} "
            f"missing from {snapshot.object}. Nothing was changed. If so many did leave, run once with a higher "
            "max_departures."
        )
    return Departures(kept=keep_referenced(cursor, merge, from_stored=merge.newer() is not None))


def drop_moved(cursor: Cursor, ids_in_run: SnapshotIds) -> int:
    """Take those who moved from the leavers; how many."""
    cursor.execute("SELECT _number, _key::text FROM pg_temp.leavers ORDER BY _number")
    leavers = cursor.fetchall()
    moved = [leavers[place][0] for place in places_of([key for _, key in leavers], ids_in_run)]
    cursor.execute("DELETE FROM pg_temp.leavers WHERE _number = ANY (%s)", (moved,))
    return len(moved)


def takes_along(merge: Merge) -> list[ForeignKey]:
    """The foreign keys of the table to itself by which a leaver who is deleted takes rows along, or changes them."""
    if merge.revive or merge.departure_statement is None:
        return []
    return [key for key in merge.table.foreign_keys if key.deletes and key.referred == merge.table.quoted]


def keep_referenced(cursor: Cursor, merge: Merge, *, from_stored: bool) -> tuple[str, ...]:
    """Keep leavers to whom a row that stays will still refer, where the foreign key would take that row with them.

    By ON DELETE CASCADE, say, a leaver would remove members of the snapshot, or of another department.

    Args:
        from_stored: a row that the file gives another reference counts by its stored one too, since it may be refused
            or left as it is. Then the leaver goes with the next load.
    """
    kept: list[str] = []
    keys = takes_along(merge)
    found = bool(keys)
    while found:  # one who is kept may refer to another
        found = False
        for key in keys:
            parts = reference_parts(merge, key, from_stored=from_stored)
            execute(cursor, "protected_leavers", **merge.target, **parts)
            names = [f'{name} (still referred to, foreign key "{key.name}")' for (name,) in cursor.fetchall()]
            kept += names
            found = found or bool(names)
    return tuple(kept)


def reference_parts(merge: Merge, key: ForeignKey, *, from_stored: bool) -> dict[str, str]:
    """The parts of protected_leavers.sql: who will refer to a leaver, by the file's values or by stored ones."""
    loaded = {column.name: column for column in merge.columns}
    pairs = list(zip(key.columns, map(quoted, key.referred_columns), strict=True))
    is_loaded = all(name in loaded for name in key.columns)
    staged = " AND ".join(f"{loaded[own].value} = gone.{referred}" for own, referred in pairs) if is_loaded else "false"
    others = (
        f"NOT EXISTS (SELECT FROM pg_temp.staging AS s WHERE s.{merge.alignment.key.staged} = t.{quoted(merge.key)})"
    )
    return {
        "staged_refers": staged,
        "stored_refers": " AND ".join(f"t.{quoted(own)} = gone.{referred}" for own, referred in pairs),
        "keeps_reference": others if is_loaded and not from_stored else "true",
    }


def count_departures(cursor: Cursor, merge: Merge, found: Departures, refused: Reasons) -> Departures:
    """Who left, by looking into the table again; and who was kept, because the table refused or ignored it."""
    still = f"WHERE t.{DEPARTED_AT} IS NULL" if merge.revive else ""  # leavers are marked, not deleted
    execute(cursor, "kept_leavers", still_there=still, **merge.target)
    kept = cursor.fetchall()
    cursor.execute("SELECT count(*) FROM pg_temp.leavers")
    silent = "", "kept by a trigger, rule or policy of the table"
    named = tuple(f"{key} ({refused.get(number, silent)[1]})" for number, key in kept)
    return Departures(int(one_row(cursor)[0]) - len(kept), (*found.kept, *named), found.skipped)
