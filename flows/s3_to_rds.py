"""S3 to PostgreSQL: load one snapshot's CSV into its table, once and in order.

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
from flows import parameters
from tasks.alert import alert_of_failure
from tasks.files import run_folder
from tasks.load.recognise import stream_of
from tasks.load.report import LoadReport, announce_load, load_report
from tasks.load.schema import TableSchema, inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.load.views import create_views
from tasks.options import LoadOptions
from tasks.report import publish_report
from tasks.s3 import Snapshot, read_object
from tasks.settings import LoadSettings, Resolver, load_settings, source_object
from tasks.snapshot_ids import SnapshotIds
from tasks.streams import MEMBERS
from tasks.task_options import FLOW, run_name


@flow(
    name="s3-to-rds",
    flow_run_name=run_name,
    on_failure=[alert_of_failure],
    on_crashed=[alert_of_failure],
    **FLOW,
)
@parameters.documented
def s3_to_rds(
    bucket: parameters.SourceBucket = None,
    key: parameters.SourceKey = None,
    version_id: parameters.VersionId = None,
    schema_name: parameters.SchemaName = None,
    table_name: parameters.TableName = None,
    create_table: parameters.CreateTable = False,
    schema_contract: parameters.Contract = "ignore",
    max_rejected: parameters.MaxRejected = None,
    on_departure: parameters.Departure = "keep",
    max_departures: parameters.MaxDepartures = "20%",
    max_emptied: parameters.MaxEmptied = None,
    history: parameters.History = False,
    replay: parameters.Replay = False,
    dry_run: parameters.DryRun = False,
    show_values: parameters.ShowValues = False,
    blocks: parameters.Blocks = None,
) -> dict[str, Any]:
    """Load one snapshot's CSV into its table completely, or change nothing."""
    resolver = Resolver(blocks)
    source = source_object(resolver, MEMBERS, bucket, key, version_id)
    settings = load_settings(resolver, schema_name, table_name)
    options = LoadOptions(
        schema_contract=schema_contract,
        max_rejected=max_rejected,
        on_departure=on_departure,
        max_departures=max_departures,
        max_emptied=max_emptied,
        history=history,
        replay=replay,
        dry_run=dry_run,
        show_values=show_values,
    ).checked(resolver.problems)
    resolver.finish()
    with run_folder() as folder:
        snapshot = read_object(source, folder / "snapshot.csv", blocks=blocks)
        report, _ = apply_snapshot(snapshot, settings, options, create_table=create_table, blocks=blocks)
    return publish_report("s3-to-rds", report)


def apply_snapshot(
    snapshot: Snapshot,
    settings: LoadSettings,
    options: LoadOptions,
    *,
    create_table: bool,
    blocks: str | None,
    ids_in_run: SnapshotIds | None = None,
    known: TableSchema | None = None,
) -> tuple[LoadReport, TableSchema | None]:
    """The steps of the load: inspect the table, then align, stage and upsert in one transaction.

    Args:
        ids_in_run: the ids in all snapshots of this run; none of these members has left.
        known: the table, if this run has already inspected it; returned for the next call unless the load altered it.
    """
    stream = stream_of(snapshot)
    tables = settings.tables_with(stream)
    table = known or inspect_schema(
        settings.schema, tables[stream.name], stream=stream, create_table=create_table, blocks=blocks
    )
    loaded = upsert_snapshot(snapshot, table, options, blocks=blocks, ids_in_run=ids_in_run)
    # once per run: `known` is set from the second scope on
    if create_table and known is None and not options.dry_run:
        create_views(settings.schema, tables, blocks=blocks)
    announce_load(snapshot, table, loaded, dry_run=options.dry_run)
    report = load_report(snapshot, table, loaded, dry_run=options.dry_run)
    return report, None if table.missing or loaded.added_columns else table


if __name__ == "__main__":
    raise SystemExit(main(s3_to_rds))
