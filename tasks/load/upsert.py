"""The load: one transaction that loads a snapshot completely or changes nothing."""

import time
from dataclasses import dataclass, replace

from prefect import task
from psycopg2.extensions import cursor as Cursor

from tasks.load.align import Alignment, align
from tasks.load.changes import Changes, find_changes
from tasks.load.database import savepoint, transaction
from tasks.load.departures import (
    Departures,
    check_columns,
    count_departures,
    departure_statement,
    keep_referenced,
    takes_along,
)
from tasks.load.duplicates import drop_duplicates
from tasks.load.evolve import add_columns, create_missing, default_columns
from tasks.load.fingerprints import Fingerprints, forget_leavers, open_fingerprints, record_same, recording
from tasks.load.history import open_history, write_history
from tasks.load.ledger import Committed, check_clock, committed_by_this_run, find_earlier, open_ledger, record_load
from tasks.load.loaded import Loaded, check_totals, numbered
from tasks.load.merge import merge_rows, withdraw
from tasks.load.plan import Merge
from tasks.load.reasons import Reasons
from tasks.load.records import count_records, read_header
from tasks.load.rejects import publish_rejects, rejected_records, summary
from tasks.load.schema import TableSchema, check_unaltered
from tasks.load.staging import Staged, check_limit, stage
from tasks.load.table_lock import lock_table
from tasks.load.verify import ReadBack, read_back
from tasks.log import run_logger
from tasks.options import LoadOptions, allowed_rejects
from tasks.s3 import S3Object, Snapshot
from tasks.snapshot_ids import SnapshotIds
from tasks.task_options import IN_MEMORY, RETRIED


class _DryRun(Exception):
    """Carries the result out of the transaction that it rolls back."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded


@task(name="upsert-snapshot", task_run_name="upsert-snapshot {snapshot.subject}", **IN_MEMORY, **RETRIED)
def upsert_snapshot(
    snapshot: Snapshot,
    table: TableSchema,
    options: LoadOptions,
    *,
    blocks: str | None = None,
    ids_in_run: SnapshotIds | None = None,
) -> Loaded:
    """Load the snapshot's rows into the table, once and in order, or change nothing.

    One transaction: an advisory lock on the table, COPY into a temporary staging table, one upsert,
    leavers, a row in the ledger, commit. Streams the file; holds one chunk of 4 MB and the rejected
    rows. Retried if the database cannot be reached; a load that was already committed is found in the ledger.

    Args:
        ids_in_run: the ids that the snapshots of the same run hold; none of them is a leaver.

    Raises:
        ObjectInvalid: the file is truncated, malformed or has no key column. Names the line.
        SchemaMismatch, TooManyRejected, TooManyDepartures: see `tasks.errors`.
        AuthError, ConfigError, LoadFailed: the database refused access or could not be reached.
    """
    began = time.monotonic()
    new_types = default_columns(table.stream, blocks) if options.schema_contract == "evolve" else {}
    alignment = align(read_header(snapshot.path), table, options.schema_contract, new_types)
    check_columns(table, options.on_departure)
    try:
        with transaction(blocks) as cursor:
            loaded = load(cursor, snapshot, table, alignment, options, blocks, ids_in_run)
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
    ids_in_run: SnapshotIds | None,
) -> Loaded:
    """The whole load, inside a transaction that the caller commits."""
    # first: the ledger, the clock and the table are read only when no other load can still commit
    lock_table(cursor, table)
    create_missing(cursor, table)
    check_unaltered(cursor, table)
    open_ledger(cursor, table)
    check_clock(cursor, snapshot)
    if (committed := committed_by_this_run(cursor, table, snapshot)) and not options.dry_run:
        return as_committed(committed, snapshot)
    earlier = find_earlier(cursor, table, snapshot)
    if earlier.reason_to_skip and not options.replay:
        return Loaded(skipped=earlier.reason_to_skip)
    limit = allowed_rejects(options.max_rejected, known_rows(snapshot))
    merge = Merge(
        table,
        alignment,
        keep_newer=options.replay or snapshot.is_plain,
        revive=options.on_departure == "mark",
        scope=snapshot.scope,
        departure_statement=departure_statement(table, options, snapshot),
        without_new=options.dry_run,
    )
    fingerprints = open_fingerprints(cursor, merge, snapshot.path, options)
    try:
        staged = stage(cursor, snapshot, table, alignment, limit, fingerprints)
    finally:
        if fingerprints is not None:
            fingerprints.file.stop()
    duplicates = drop_duplicates(cursor, alignment)
    changes = find_changes(cursor, merge, snapshot, staged, options, earlier, ids_in_run)
    if not options.dry_run:
        # as late as possible: ALTER TABLE blocks readers until the commit
        add_columns(cursor, table, alignment)
    # before anything is written: what loads without history have changed is found by comparing
    history = open_history(cursor, merge, dry_run=options.dry_run) if options.history else None
    # where most rows change, recording them would cost more than it saves
    records = not options.dry_run and changes.compared.changed * 2 <= staged.read + staged.left_out
    recorded = recording(cursor, merge, fingerprints) if records else None
    outcome = write_changes(cursor, merge, snapshot, staged, changes, limit, recorded)
    rejected = rejected_records(snapshot.path, outcome.rejected, alignment)
    # inside the transaction: if the upload fails, nothing is loaded
    rejects = publish_rejects(snapshot, rejected, blocks) if rejected and not options.dry_run else None
    loaded = replace(
        summed_up(merge, staged, changes, outcome),
        duplicates=duplicates,
        rejected=len(rejected),
        rejects=rejects,
        rejected_because=summary(rejected),
    )
    check_totals(loaded)
    # before the history, which needs the load_id that only the ledger gives
    load_id = record_load(cursor, table, snapshot, loaded.counts(), rejects.key if rejects else None)
    if history is not None:
        withdraw(cursor, outcome.written.unwritten)
        rows = write_history(cursor, merge, history, changes.compared, load_id, all_written=not outcome.unwritten)
        loaded = replace(loaded, history=f"{rows} rows added to {history.name}")
    if recorded is not None:
        record_same(cursor, merge, recorded, any_same=changes.compared.same > 0)
    if fingerprints is not None:
        forget_leavers(cursor, merge, fingerprints)
    return loaded


class MightCascade(Exception):
    """Rows were refused whose stored reference may be to a leaver, who would take them along."""


@dataclass
class Outcome:
    """What became of the changed rows and of the leavers."""

    written: ReadBack
    left: Departures
    rejected: Reasons
    unwritten: int
    """How many of the changed rows were not written."""


def write_changes(
    cursor: Cursor,
    merge: Merge,
    snapshot: Snapshot,
    staged: Staged,
    changes: Changes,
    limit: int,
    fingerprints: Fingerprints | None,
) -> Outcome:
    """Write what has changed, but for what the table refuses; then look all of it up.

    Raises:
        TooManyRejected: more than `limit` rows were refused.
    """
    most = limit - len(staged.rejected)
    try:
        with savepoint(cursor):
            refusals = merge_rows(cursor, merge, changes.compared, most)
            if refusals.rows and takes_along(merge):
                raise MightCascade
    except MightCascade:
        kept = keep_referenced(cursor, merge, from_stored=True)
        changes.departures = replace(changes.departures, kept=(*changes.departures.kept, *kept))
        refusals = merge_rows(cursor, merge, changes.compared, most)
    rejected = staged.rejected | refusals.rows
    check_limit(snapshot, merge.alignment, rejected, limit)
    written = read_back(cursor, merge, changes.compared, list(refusals.rows), fingerprints)
    rejected |= written.dropped
    check_limit(snapshot, merge.alignment, rejected, limit)
    left = count_departures(cursor, merge, changes.departures, refusals.leavers)
    return Outcome(written, left, rejected, len(refusals.rows) + len(written.unwritten))


def summed_up(merge: Merge, staged: Staged, changes: Changes, outcome: Outcome) -> Loaded:
    """What there is to report, but for duplicates and rejected rows."""
    written, left = outcome.written, outcome.left
    return Loaded(
        read=staged.read + staged.left_out,
        inserted=written.inserted,
        updated=written.updated,
        unchanged=written.unchanged + staged.left_out,
        recognised=f"{staged.left_out} rows" if staged.left_out else "",
        departed=left.departed,
        returned=written.returned,
        altered=written.altered,
        altered_columns=numbered(written.altered_columns),
        cut_columns=numbered(staged.cut),
        kept_leavers=left.kept,
        departures_skipped=left.skipped,
        new_keys=tuple(changes.new_keys),
        vanished_keys=tuple(changes.vanished_keys),
        ignored_columns=(*merge.alignment.ignored, *merge.overruled),
        untouched_columns=merge.alignment.untouched,
        added_columns=tuple(column.name for column in merge.alignment.added),
        differences=tuple(
            f"{key}: {what}" for record, key, what in changes.differences if record not in outcome.rejected
        ),
    )


def as_committed(committed: Committed, snapshot: Snapshot) -> Loaded:
    """The result of a load that this run had already committed."""
    run_logger().warning("load %s of this run had already been committed; reporting its counts", committed.load_id)
    rejects = S3Object(snapshot.object.bucket, committed.rejects_key) if committed.rejects_key else None
    return replace(Loaded(**committed.counts), rejects=rejects)  # type: ignore[arg-type]


def known_rows(snapshot: Snapshot) -> int:
    """How many rows the file has, before it is read: by its metadata, else counted."""
    return count_records(snapshot.path) if snapshot.rows is None else snapshot.rows
