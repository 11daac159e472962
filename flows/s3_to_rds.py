"""S3 to PostgreSQL: one snapshot's CSV, applied to the members' table once and in order.

python flows/s3_to_rds.py --help
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # `python flows/s3_to_rds.py` puts flows/ on the path, not the project
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from commands.startup import begin

    begin(__file__)

from prefect import flow

from commands.flow_script import main
from tasks.alert import tell_of_failure
from tasks.files import run_folder
from tasks.load.report import announce_load, load_report
from tasks.load.schema import inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions, OnDeparture, SchemaContract
from tasks.report import tell
from tasks.s3 import Snapshot, read_object
from tasks.settings import LoadSettings, Resolver, load_settings, source_object
from tasks.streams import MEMBERS
from tasks.task_options import FLOW, run_name


@flow(
    name="s3-to-rds",
    flow_run_name=run_name,
    on_failure=[tell_of_failure],
    on_crashed=[tell_of_failure],
    **FLOW,
)
def s3_to_rds(
    bucket: str | None = None,
    key: str | None = None,
    version_id: str | None = None,
    schema_name: str | None = None,
    table_name: str | None = None,
    create_table: bool = False,
    schema_contract: SchemaContract = "ignore",
    max_rejected: str | None = None,
    on_departure: OnDeparture = "keep",
    max_departures: str = "20%",
    max_emptied: str | None = None,
    replay: bool = False,
    dry_run: bool = False,
    show_values: bool = False,
    blocks: str | None = None,
) -> dict[str, Any]:
    """Apply one snapshot's CSV to the members' table, whole, or change nothing.

    Args:
        bucket: where the CSV lies; else the saved block's, else S3_BUCKET_NAME.
        key: the CSV's key, as the S3 event gives it; else S3_DEPARTMENT_MEMBERS_PATH.
        version_id: the object's version, as the S3 event gives it; else the newest.
        schema_name: the table's schema; else BUSINESS_TRACKING_SCHEMA.
        table_name: the table; else BUSINESS_TRACKING_TABLE.
        create_table: create the table, by tasks/load/sql/department_members.sql, where it is missing.
        schema_contract: columns that the table lacks are left out (ignore), added (evolve), or an error (fail).
        max_rejected: rows that may be refused, as a number or a percentage; else 1 %, at least 10.
        on_departure: members who left are kept, marked in departed_at, or deleted.
        max_departures: the most who may leave at once, as a number or a percentage.
        max_emptied: the most stored values of a column that may become null, or a percentage; else 50 %, at least 10.
        replay: apply a snapshot again, or an older one; even so no row gives way to an older date_edited.
        dry_run: do everything, then undo it: real counts and the first differences, nothing written.
        show_values: let the differences show values, which are personal data.
        blocks: the name under which this environment's blocks are saved; without it, the environment.
    """
    resolver = Resolver(blocks)
    source = source_object(resolver, MEMBERS, bucket, key, version_id)
    settings = load_settings(resolver, MEMBERS, schema_name, table_name)
    options = LoadOptions(
        schema_contract, max_rejected, on_departure, max_departures, max_emptied, replay, dry_run, show_values
    ).checked(resolver.problems)
    resolver.finish()
    with run_folder() as folder:
        snapshot = read_object(source, folder / "snapshot.csv", blocks=blocks)
        return apply_snapshot(snapshot, settings, options, create_table=create_table, blocks=blocks)


def apply_snapshot(
    snapshot: Snapshot, settings: LoadSettings, options: LoadOptions, *, create_table: bool, blocks: str | None
) -> dict[str, Any]:
    """The story of the load: inspect the table, then align, stage and upsert in one transaction."""
    table = inspect_schema(settings.schema, settings.table, create_table=create_table, blocks=blocks)
    loaded = upsert_snapshot(snapshot, table, options, blocks=blocks)
    announce_load(snapshot, table, loaded, dry_run=options.dry_run)
    return tell("s3-to-rds", load_report(snapshot, table, loaded, dry_run=options.dry_run))


if __name__ == "__main__":
    raise SystemExit(main(s3_to_rds))
