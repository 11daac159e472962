"""The load: one transaction that applies a snapshot whole, or leaves everything as it was."""

import time
from dataclasses import asdict, dataclass, field, replace

import psycopg2
from prefect import task
from psycopg2.extensions import cursor as Cursor

from tasks.align import EDITED, Alignment, align
from tasks.database import LOCKED, execute, one_row, quoted, transaction
from tasks.departures import check_columns, count_departures, find_leavers, leave_statement
from tasks.emptied import check_emptied
from tasks.errors import LoadFailed, Unreachable
from tasks.ledger import Committed, check_clock, committed_by_this_run, open_ledger, reason_to_skip, record_load
from tasks.log import run_logger
from tasks.merge import compare, merge_rows
from tasks.options import LoadOptions, allowed_rejects
from tasks.plan import Merge
from tasks.policy import IN_MEMORY, RETRIED
from tasks.records import count_records, read_header
from tasks.rejects import publish_rejects, rejected_records, summary
from tasks.s3 import S3Object, Snapshot
from tasks.schema import TableSchema, create_statement
from tasks.staging import check_limit, stage
from tasks.verify import read_back

LOCK_TABLE = "SELECT pg_try_advisory_xact_lock(hashtextextended('department-members:' || %s, 0))"
LONGEST_WAIT_S = 900.0
ALTER_TRIES, ALTER_WAIT_S = 10, 2
"""While ALTER TABLE waits for a reader to end, it holds up every later one: so it waits briefly, several times."""


@dataclass(frozen=True)
class Loaded:
    """What a load did: `read = inserted + updated + unchanged + duplicates + rejected`."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0
    departed: int = 0
    returned: int = 0
    altered: int = 0
    """Of the inserted and updated: rows whose values the table's own trigger replaced."""
    altered_columns: tuple[str, ...] = ()
    cut_columns: tuple[str, ...] = ()
    """Columns in which digits of a second were cut that their type cannot keep, each with the number of values."""
    kept_leavers: tuple[str, ...] = ()
    """Leavers whom the table did not let go: key and reason."""
    departures_skipped: str = ""
    new_keys: tuple[str, ...] = ()
    vanished_keys: tuple[str, ...] = ()
    """Columns and custom-field keys that have values since, or no more since, this load."""
    skipped: str | None = None
    rejects: S3Object | None = None
    rejected_because: str = ""
    ignored_columns: tuple[str, ...] = ()
    untouched_columns: tuple[str, ...] = ()
    added_columns: tuple[str, ...] = ()
    differences: tuple[str, ...] = field(default=(), repr=False)
    seconds: float = 0.0

    def counts(self) -> dict[str, int]:
        """The numbers of the ledger, by name."""
        return {name: value for name, value in asdict(self).items() if type(value) is int}


class _DryRun(Exception):
    """Carries the result out of the transaction that it rolls back."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded


@task(name="upsert-members", **IN_MEMORY, **RETRIED)
def upsert_members(
    snapshot: Snapshot, table: TableSchema, options: LoadOptions, *, blocks: str | None = None
) -> Loaded:
    """The snapshot's rows are in the table, once and in order; or nothing was changed.

    One transaction: an advisory lock on the table, COPY into a temporary staging table, one upsert,
    leavers, a row in the ledger, commit. Streams the file; holds one chunk of 4 MB and the rejected
    rows. Retried when the database is out of reach: what was committed is then found in the ledger.

    Raises:
        ObjectInvalid: the file is cut, malformed, or has no key. Names the line.
        SchemaMismatch, TooManyRejected, TooManyDepartures: see `tasks.errors`.
        AuthError, ConfigError, LoadFailed: the database refused, or stayed out of reach.
    """
    began = time.monotonic()
    alignment = align(read_header(snapshot.path), table, options.schema_contract)
    check_columns(table, options.on_departure)
    try:
        with transaction(blocks) as cursor:
            loaded = load(cursor, snapshot, table, alignment, options, blocks)
            if options.dry_run:
                raise _DryRun(loaded)
    except _DryRun as rolled_back:
        loaded = rolled_back.loaded
    return replace(loaded, seconds=time.monotonic() - began)


def load(
    cursor: Cursor,
    snapshot: Snapshot,
    table: TableSchema,
    alignment: Alignment,
    options: LoadOptions,
    blocks: str | None,
) -> Loaded:
    """The whole load, inside a transaction that the caller commits."""
    wait_for_turn(cursor, table)
    create_missing(cursor, table)
    open_ledger(cursor, table)
    check_clock(cursor, snapshot)
    if (committed := committed_by_this_run(cursor, table, snapshot)) and not options.dry_run:
        return as_committed(committed, snapshot)
    skipped = reason_to_skip(cursor, table, snapshot)
    if skipped and not options.replay:
        return Loaded(skipped=skipped)

    limit = allowed_rejects(options.max_rejected, known_rows(snapshot))
    staged = stage(cursor, snapshot, table, alignment, limit)
    duplicates = drop_duplicates(cursor, alignment)
    merge = Merge(
        table,
        alignment,
        keep_newer=options.replay or snapshot.is_plain,
        revive=options.on_departure == "mark",
        scope=snapshot.department_id,
        leave=leave_statement(table, options, snapshot),
        without_new=options.dry_run,
    )
    unread = rejected_records(snapshot.path, staged.rejected, alignment)
    departures_skipped = find_leavers(cursor, table, alignment, snapshot, options, unread)
    changed, same = compare(cursor, merge)
    new_keys, vanished_keys = check_emptied(cursor, merge, snapshot, staged.filled, options.max_emptied)
    differences = first_differences(cursor, merge, options.show_values) if options.dry_run else []
    if not options.dry_run:
        add_columns(cursor, table, alignment)

    refusals = merge_rows(cursor, merge, limit - len(staged.rejected))
    reasons = staged.rejected | refusals.rows
    check_limit(snapshot, alignment, reasons, limit)
    written = read_back(cursor, merge, changed - len(refusals.rows))
    reasons |= written.dropped
    check_limit(snapshot, alignment, reasons, limit)
    left = count_departures(cursor, table, options, refusals.leavers)
    rejected = rejected_records(snapshot.path, reasons, alignment)
    rejects = publish_rejects(snapshot, rejected, blocks) if rejected and not options.dry_run else None

    loaded = Loaded(
        read=staged.read,
        inserted=written.inserted,
        updated=written.updated,
        unchanged=same + written.kept,
        duplicates=duplicates,
        rejected=len(rejected),
        departed=left.departed,
        returned=written.returned,
        altered=written.altered,
        altered_columns=numbered(written.altered_columns),
        cut_columns=numbered(staged.cut),
        kept_leavers=left.kept,
        departures_skipped=departures_skipped,
        new_keys=tuple(new_keys),
        vanished_keys=tuple(vanished_keys),
        rejects=rejects,
        rejected_because=summary(rejected),
        ignored_columns=alignment.ignored,
        untouched_columns=alignment.untouched,
        added_columns=tuple(column.name for column in alignment.added),
        differences=tuple(f"{key}: {what}" for record, key, what in differences if record not in reasons),
    )
    check_sum(loaded)
    record_load(cursor, table, snapshot, loaded.counts(), rejects.key if rejects else None)
    return loaded


def as_committed(committed: Committed, snapshot: Snapshot) -> Loaded:
    """What a load of this very run did, whose commit was made though its acknowledgement was lost."""
    run_logger().warning("load %s of this run was committed before; these are its counts", committed.load_id)
    rejects = S3Object(snapshot.object.bucket, committed.rejects_key) if committed.rejects_key else None
    return replace(Loaded(**committed.counts), rejects=rejects)  # type: ignore[arg-type]


def check_sum(loaded: Loaded) -> None:
    """Raise LoadFailed where the counts, each counted by itself, do not add up to the rows that were read."""
    parts = (loaded.inserted, loaded.updated, loaded.unchanged, loaded.duplicates, loaded.rejected)
    if loaded.read != sum(parts):
        raise LoadFailed(
            f"expected {loaded.read} rows to be inserted, updated, unchanged, duplicates or rejected, found {parts}. "
            "Nothing was changed. Please report this as an error of the load itself."
        )


def numbered(counts: dict[str, int]) -> tuple[str, ...]:
    """
    >>> numbered({"date_edited": 3, "date_added": 0})
    ('date_edited (3 rows)',)
    """
    return tuple(f"{name} ({number} rows)" for name, number in counts.items() if number)


def wait_for_turn(cursor: Cursor, table: TableSchema) -> None:
    """Hold the table's advisory lock until the transaction ends.

    Asks again and again rather than waiting inside the server, where no signal reaches a run.

    Raises:
        LoadFailed: another load held it all that time.
    """
    patience = time.monotonic() + LONGEST_WAIT_S
    told = False
    while True:
        cursor.execute(LOCK_TABLE, (table.quoted,))
        if one_row(cursor)[0]:
            return
        if time.monotonic() > patience:
            raise LoadFailed(
                f"{table.quoted}: another load has held the table for {LONGEST_WAIT_S / 60:.0f} minutes. Nothing was "
                "changed. Look for a run that hangs (pg_stat_activity, application_name department-members); run again."
            )
        if not told:
            run_logger().info("another load of %s is under way; waiting for its end", table.quoted)
            told = True
        time.sleep(0.5)


def create_missing(cursor: Cursor, table: TableSchema) -> None:
    """With create_table: the table exists, unless another load has made it meanwhile."""
    if table.missing:
        cursor.execute("SELECT to_regclass(%s) IS NULL", (table.quoted,))
        if one_row(cursor)[0]:
            cursor.execute(create_statement(table.schema, table.table))


def add_columns(cursor: Cursor, table: TableSchema, alignment: Alignment) -> None:
    """With schema_contract evolve: the table has the file's new columns too.

    Raises:
        Unreachable: readers held the table all that time.
    """
    if not alignment.added:
        return
    added = ", ".join(f"ADD COLUMN {quoted(c.name)} {c.column.declared}" for c in alignment.added if c.column)
    for tries_left in reversed(range(ALTER_TRIES)):
        cursor.execute(f"SAVEPOINT altering; SET LOCAL lock_timeout = '{ALTER_WAIT_S}s'")
        try:
            cursor.execute(f"ALTER TABLE {table.quoted} {added}")
        except psycopg2.Error as error:
            if error.pgcode != LOCKED:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT altering")
            if not tries_left:
                raise Unreachable(
                    f"{table.quoted}: expected to add the columns {', '.join(c.name for c in alignment.added)}, found the "
                    f"table in use through {ALTER_TRIES} tries (SQLSTATE {LOCKED}). Nothing was changed; run again, or "
                    "add them by hand."
                ) from None
            time.sleep(1)
        else:
            cursor.execute("SET LOCAL lock_timeout = '60s'; RELEASE SAVEPOINT altering")
            return


def known_rows(snapshot: Snapshot) -> int:
    """How many rows the file has, before it is read: by its metadata, else counted."""
    return count_records(snapshot.path) if snapshot.rows is None else snapshot.rows


def drop_duplicates(cursor: Cursor, alignment: Alignment) -> int:
    """Keep one row per key in the staging table; how many were dropped."""
    key = alignment.key.staged
    execute(cursor, "repeated_keys", staged_key=key)
    if one_row(cursor)[0] == 0:
        return 0
    edited = alignment.find(EDITED)
    newest_first = f"{edited.staged} DESC NULLS LAST, " if edited else ""
    execute(cursor, "drop_duplicates", staged_key=key, newest_first=newest_first)
    return cursor.rowcount


def first_differences(cursor: Cursor, merge: Merge, show_values: bool, count: int = 10) -> list[tuple[int, str, str]]:
    """For a dry run: the first members that would be new or changed, and in which columns, if the table takes them."""
    execute(cursor, "differences", {"count": count}, **merge.target, changes=merge.changes(show_values))
    return [(record, key, what) for record, key, what in cursor.fetchall()]
