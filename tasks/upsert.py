"""The load: one transaction that applies a snapshot whole, or leaves everything as it was."""

import time
from dataclasses import asdict, dataclass, field, replace

from prefect import task
from psycopg2.extensions import cursor as Cursor

from tasks.align import Alignment, align
from tasks.columns import KEY
from tasks.database import execute, one_row, quoted, transaction
from tasks.departures import check_columns, depart
from tasks.errors import LoadFailed
from tasks.ledger import open_ledger, reason_to_skip, record_load
from tasks.log import run_logger
from tasks.merge import EDITED, Merge, merge_rows
from tasks.options import LoadOptions, allowed_rejects
from tasks.policy import IN_MEMORY, RETRIED
from tasks.records import read_chunks, read_header
from tasks.rejects import publish_rejects, rejected_records
from tasks.s3 import S3Object, Snapshot
from tasks.schema import TableSchema, create_statement
from tasks.staging import stage, summary

LOCK_TABLE = "SELECT pg_try_advisory_xact_lock(hashtextextended('department-members:' || %s, 0))"
LONGEST_WAIT_S = 900.0


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
    skipped = reason_to_skip(cursor, table, snapshot)
    if skipped and not options.replay:
        return Loaded(skipped=skipped)
    add_columns(cursor, table, alignment)

    limit = allowed_rejects(options.max_rejected, known_rows(snapshot))
    staged = stage(cursor, snapshot, alignment, limit)
    duplicates = drop_duplicates(cursor, alignment)
    merge = Merge(
        table,
        alignment,
        keep_newer=options.replay or snapshot.is_plain,
        revive=options.on_departure == "mark",
    )
    differences = first_differences(cursor, merge, options.show_values) if options.dry_run else []
    merged = merge_rows(cursor, merge, staged.rows, limit - len(staged.rejected))
    rejected = staged.rejected + rejected_records(snapshot.path, merged.refused, alignment.position(KEY))
    refused = [row.key for row in rejected]
    departed = depart(cursor, table, snapshot, options, refused)
    rejects = publish_rejects(snapshot, rejected, blocks) if rejected and not options.dry_run else None

    loaded = Loaded(
        read=staged.rows,
        inserted=merged.inserted,
        updated=merged.updated,
        unchanged=staged.rows - merged.inserted - merged.updated - duplicates - len(rejected),
        duplicates=duplicates,
        rejected=len(rejected),
        departed=departed,
        returned=merged.returned,
        rejects=rejects,
        rejected_because=summary(rejected),
        ignored_columns=alignment.ignored,
        untouched_columns=alignment.untouched,
        added_columns=alignment.added,
        differences=tuple(f"{key}: {what}" for key, what in differences if key not in refused),
    )
    record_load(cursor, table, snapshot, loaded.counts(), rejects.key if rejects else None)
    return loaded


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
    """With schema_contract evolve: the table has the file's new columns too."""
    for column in alignment.loaded:
        if column.name in alignment.added:
            cursor.execute(f"ALTER TABLE {table.quoted} ADD COLUMN {quoted(column.name)} {column.staged_as}")


def known_rows(snapshot: Snapshot) -> int:
    """How many rows the file has, before it is read: by its metadata, else counted."""
    if snapshot.rows is not None:
        return snapshot.rows
    return sum(len(chunk.records()) for chunk in read_chunks(snapshot.path))


def drop_duplicates(cursor: Cursor, alignment: Alignment) -> int:
    """One row a key is left in the staging table; how many were dropped."""
    execute(cursor, "repeated_keys")
    if one_row(cursor)[0] == 0:
        return 0
    newest_first = f"{EDITED} DESC NULLS LAST, " if any(c.name == EDITED for c in alignment.columns) else ""
    execute(cursor, "drop_duplicates", newest_first=newest_first)
    return cursor.rowcount


def first_differences(cursor: Cursor, merge: Merge, show_values: bool) -> list[tuple[str, str]]:
    """For a dry run: the first members that would be new or changed, and in which columns, if the table takes them."""
    execute(cursor, "differences", **merge.difference_parts(show_values), **merge.parts())
    return [(key, what) for key, what in cursor.fetchall()]
