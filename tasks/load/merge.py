"""Merge the staging table into the target: the whole snapshot as one final state, except rows that the table refuses.

One statement removes leavers and writes new and changed rows. If the table refuses it, the rows are sorted so that
each comes after the rows it depends on (`tasks.load.write_order`) and written in batches; a refused batch is split in
two until each refused row is isolated. Refused rows are retried last, once the rows they reference exist.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor

from tasks.load.compare import Compared
from tasks.load.database import RowError, execute, savepoint
from tasks.load.plan import CHANGED, STAGED, Merge
from tasks.load.reasons import DROPPED, Reason, Reasons, reason_of
from tasks.load.write_order import Group, Pairs, find_order, find_overtaken, park_values

BATCH = 4096
SWAP_ATTEMPTS = 3
ORDERS = 3
"""As many orders are tried so that no row overtakes an earlier one; each costs as much as the first."""
# From here on rows are looked up by record, and autovacuum does not analyse temporary tables.
SLOW_PATH = """
    CREATE INDEX ON pg_temp.staging (_record);
    ANALYZE pg_temp.staging, pg_temp.changes;
"""
NO_DETOUR = "swaps a unique value with another row, which this table does not allow; make the constraint DEFERRABLE"


class Refused(Exception):
    """The table refuses one of the rows that were sent."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Overtaken(Exception):
    """A row was refused for a value that one later in the file got first."""


@dataclass
class Refusals:
    """What the table refused: rows of the file by record, leavers by their number."""

    rows: Reasons = field(default_factory=dict)
    leavers: Reasons = field(default_factory=dict)

    def add(self, node: int, reason: Reason) -> None:
        """A negative node is a leaver."""
        (self.rows if node > 0 else self.leavers)[abs(node)] = reason

    @property
    def nodes(self) -> list[int]:
        """All of them."""
        return [*sorted(self.rows), *(-number for number in sorted(self.leavers))]


def merge_rows(cursor: Cursor, merge: Merge, compared: Compared, max_refused: int) -> Refusals:
    """Write every changed row and remove every leaver, except those that the table refuses.

    Stops early once more than `max_refused` rows are refused; the caller fails then.
    """
    key_type = merge.alignment.key.staged_as
    cursor.execute(f"CREATE TEMPORARY TABLE written (_key {key_type}) ON COMMIT DROP")
    broken = broken_checks(cursor, merge)
    withdraw(cursor, broken)
    # no join where every staged row is to be written
    rows = CHANGED if broken or compared.same else STAGED
    if len(broken) > max_refused or attempt(cursor, merge, rows=rows) is None:
        return Refusals(broken)
    cursor.execute(SLOW_PATH)
    refusals = merge_in_order(cursor, merge, max_refused - len(broken))
    withdraw(cursor, refusals.rows)
    return Refusals(broken | refusals.rows, refusals.leavers)


def merge_in_order(cursor: Cursor, merge: Merge, most: int) -> Refusals:
    """Write the rows in an order in which each finds what it needs; once more, in another, where one was overtaken."""
    waits: Pairs = []
    for orders_left in reversed(range(ORDERS)):
        with suppress(Overtaken), savepoint(cursor):
            order = find_order(cursor, merge, waits)
            refusals = Refusals()
            for batch in batches(order.groups):
                write_or_split(cursor, merge, batch, refusals, most)
            if len(refusals.rows) <= most:
                retry(cursor, merge, refusals)
                swap_values(cursor, merge, refusals)
            found = (
                find_overtaken(cursor, merge, refusals.rows, order.held_before)
                if 0 < len(refusals.rows) <= most
                else set()
            )
            if orders_left and (new := found.difference(waits)):
                waits += sorted(new)
                # rolls this order back, so that the next starts from the table as it was
                raise Overtaken
            break
    return refusals


def batches(groups: list[Group]) -> list[list[Group]]:
    """Groups in order, put together into batches of about BATCH rows."""
    found: list[list[Group]] = [[]]
    rows = 0
    for group in groups:
        if rows >= BATCH:
            found.append([])
            rows = 0
        found[-1].append(group)
        rows += len(group.nodes)
    return found


def write_or_split(cursor: Cursor, merge: Merge, groups: list[Group], refusals: Refusals, most: int) -> None:
    """Write these groups; those that are refused stand alone in the end. Not once more than `most` rows are refused."""
    if not groups or len(refusals.rows) > most or (reason := attempt(cursor, merge, groups)) is None:
        return
    if len(groups) > 1:
        middle = len(groups) // 2
        write_or_split(cursor, merge, groups[:middle], refusals, most)
        write_or_split(cursor, merge, groups[middle:], refusals, most)
    elif len(groups[0].nodes) == 1:
        refusals.add(groups[0].nodes[0], reason)
    else:  # none of them can come without the others; each says why by itself
        for node in groups[0].nodes:
            alone = attempt(cursor, merge, [Group([node])])
            if alone is not None:
                refusals.add(node, reason if reason[1] == NO_DETOUR else alone)


def retry(cursor: Cursor, merge: Merge, refusals: Refusals) -> None:
    """Retry the refused rows, since what blocked them may have changed, until no more of them succeed."""
    progress = True
    while progress:
        progress = False
        for node in refusals.nodes:
            reason = attempt(cursor, merge, [Group([node])])
            if reason is None:
                (refusals.rows if node > 0 else refusals.leavers).pop(abs(node))
                progress = True


def swap_values(cursor: Cursor, merge: Merge, refusals: Refusals) -> None:
    """Rows that exchange values which only the table makes (by a trigger, say), so that no order was found for them.

    All of them are parked at once. Those that still have no place are left out of the next of a few attempts.
    """
    names = {name for unique in merge.table.uniqueness if not unique.is_key for name in unique.columns}
    # `of` holds the refused columns, joined as reason_of joins them
    stuck = [record for record, (of, _) in refusals.rows.items() if of and set(of.split(", ")) <= names]
    for _ in range(SWAP_ATTEMPTS):
        if len(stuck) < 2 or not park_values(merge, sorted(names)):
            return
        with suppress(Refused), savepoint(cursor):
            left = park_and_write(cursor, merge, stuck, names)
            if left:
                stuck = [record for record in stuck if record not in left]
                raise Refused(("", NO_DETOUR))
            refusals.rows = {record: reason for record, reason in refusals.rows.items() if record not in stuck}
            return


def park_and_write(cursor: Cursor, merge: Merge, records: list[int], names: set[str]) -> set[int]:
    """Park these rows and write them one by one; which of them still have no place, or were not written."""
    park(cursor, merge, records, names)
    refused = {record for record in records if attempt(cursor, merge, [Group([record])]) is not None}
    execute(cursor, "unwritten", {"records": records}, **merge.target)
    return refused | {record for (record,) in cursor.fetchall()}


def attempt(cursor: Cursor, merge: Merge, groups: list[Group] | None = None, rows: str = CHANGED) -> Reason | None:
    """Write these groups, or all `rows`, all or nothing; why the table refused, or None."""
    try:
        with savepoint(cursor):
            write(cursor, merge, groups, rows)
    except Refused as refused:
        return refused.reason
    except RowError as refused:
        return reason_of(refused.error, merge.table)
    return None


def write(cursor: Cursor, merge: Merge, groups: list[Group] | None, rows: str) -> None:
    """One statement for these groups, or for all `rows`; then what PostgreSQL would check only at the commit."""
    nodes = None if groups is None else [node for group in groups for node in group.nodes]
    parked, columns = parked_in(groups or [])
    park(cursor, merge, parked, columns)
    execute(cursor, "upsert", {"nodes": nodes}, **merge.upsert_parts(rows, in_order=nodes is not None))
    if parked and cursor.rowcount < sum(node > 0 for node in nodes or []):
        raise Refused(("", DROPPED))  # a parked row must not stay so
    # also makes the deferred checks that are pending, so that they fail here, where the rows to blame are known
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def parked_in(groups: list[Group]) -> tuple[list[int], set[str]]:
    """The rows that are to be parked, and the columns that move out of the way."""
    return [n for group in groups for n in group.parked], {name for group in groups for name in group.parked_columns}


def park(cursor: Cursor, merge: Merge, parked: list[int], names: set[str]) -> None:
    """Take the values that rows of a cycle exchange out of the way, by UPDATE, before each gets its new one."""
    if not parked:
        return
    newer = merge.newer()
    parts = {"assignments": ", ".join(park_values(merge, sorted(names))), "guard": f"AND NOT {newer}" if newer else ""}
    try:
        with savepoint(cursor):
            execute(cursor, "park", {"records": parked}, **merge.target, **parts)
    except RowError:
        raise Refused((", ".join(sorted(names)), NO_DETOUR)) from None


def broken_checks(cursor: Cursor, merge: Merge) -> Reasons:
    """Changed rows that a CHECK of the table refuses, found at once; where it cannot be asked, the merge finds them.

    Not asked where a trigger may change the row first.
    """
    reasons: Reasons = {}
    names = {column.name for column in merge.columns}
    for check in merge.table.checks if not merge.table.rewrites_rows else ():
        if not set(check.columns) <= names:
            continue
        with suppress(RowError), savepoint(cursor):
            execute(cursor, "broken_checks", image=merge.image(), check=check.expression)
            broken = [record for (record,) in cursor.fetchall()]
            reasons |= {r: (", ".join(check.columns), f'violates the table\'s check "{check.name}"') for r in broken}
    return reasons


def withdraw(cursor: Cursor, refused: Collection[int]) -> None:
    """Take refused rows from those that are to be written."""
    if refused:
        cursor.execute("DELETE FROM pg_temp.changes WHERE _record = ANY (%s)", (list(refused),))
