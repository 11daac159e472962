"""What a load would change, found before anything is written."""

from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from tasks.load.compare import Compared, compare
from tasks.load.database import execute
from tasks.load.departures import Departures, find_leavers
from tasks.load.emptied import check_emptied
from tasks.load.ledger import EarlierLoads
from tasks.load.plan import Merge
from tasks.load.staging import Staged
from tasks.options import LoadOptions
from tasks.s3 import Snapshot
from tasks.snapshot_ids import SnapshotIds


@dataclass
class Changes:
    """What the staged rows would change."""

    compared: Compared
    departures: Departures
    new_keys: list[str]
    vanished_keys: list[str]
    differences: list[tuple[int, str, str]]


def find_changes(
    cursor: Cursor,
    merge: Merge,
    snapshot: Snapshot,
    staged: Staged,
    options: LoadOptions,
    earlier: EarlierLoads,
    ids_in_run: SnapshotIds | None,
) -> Changes:
    """Compare the staged rows with the table: leavers, changed rows, columns that lose values. Writes nothing yet."""
    departures = find_leavers(cursor, merge, snapshot, options, staged.nameless, earlier.newer, ids_in_run)
    compared = compare(cursor, merge)
    new_keys, vanished_keys = check_emptied(cursor, merge, snapshot, staged.filled, options.max_emptied)
    differences = first_differences(cursor, merge, options.show_values) if options.dry_run else []
    return Changes(compared, departures, new_keys, vanished_keys, differences)


def first_differences(cursor: Cursor, merge: Merge, show_values: bool, count: int = 10) -> list[tuple[int, str, str]]:
    """For a dry run: the first rows that would be new or changed, and in which columns, if the table accepts them."""
    execute(cursor, "differences", {"count": count}, **merge.target, changes=merge.changes(show_values))
    return sorted((record, key, what) for record, key, what in cursor.fetchall())
