"""LMS to S3 to PostgreSQL in one run: lms_to_s3, then s3_to_rds.

python flows/department_sync.py --help
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # `python flows/department_sync.py` puts flows/ on the path, not the project
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from commands.startup import begin

    begin(__file__)

from prefect import flow

from commands.flow_script import main
from flows import parameters
from flows.lms_to_s3 import publish_snapshots
from flows.s3_to_rds import apply_snapshot
from tasks.alert import alert_of_failure
from tasks.errors import ObjectInvalid, PipelineError
from tasks.extract.publish import Extracted, unpublished
from tasks.files import run_folder
from tasks.load.gone import find_gone_scopes
from tasks.load.report import announce_empty
from tasks.options import LoadOptions
from tasks.outcomes import LOADING, Outcomes
from tasks.s3 import Snapshot, read_object
from tasks.settings import ExtractSettings, LoadSettings, Resolver, extract_settings, load_settings
from tasks.snapshot_ids import ids_of_all
from tasks.streams import MEMBERS, Scope
from tasks.task_options import FLOW, run_name


@flow(
    name="department-sync",
    flow_run_name=run_name,
    on_failure=[alert_of_failure],
    on_crashed=[alert_of_failure],
    **FLOW,
)
@parameters.documented
def department_sync(
    department_id: parameters.DepartmentId = None,
    bucket: parameters.Bucket = None,
    path: parameters.Path = None,
    expand_subdepartments: parameters.ExpandSubdepartments = False,
    include_subdepartments: parameters.IncludeSubdepartments = False,
    allow_shrink: parameters.AllowShrink = False,
    column_names: parameters.ColumnNames = None,
    exclude_columns: parameters.ExcludeColumns = None,
    hash_columns: parameters.HashColumns = None,
    allow_hash_change: parameters.AllowHashChange = False,
    schema_name: parameters.SchemaName = None,
    table_name: parameters.TableName = None,
    create_table: parameters.CreateTable = False,
    schema_contract: parameters.Contract = "ignore",
    max_rejected: parameters.MaxRejected = None,
    on_departure: parameters.Departure = "keep",
    max_departures: parameters.MaxDepartures = "20%",
    max_emptied: parameters.MaxEmptied = None,
    history: parameters.History = False,
    dry_run: parameters.DryRun = False,
    show_values: parameters.ShowValues = False,
    blocks: parameters.Blocks = None,
) -> dict[str, dict[str, Any]]:
    """Update the members of one or more departments from the LMS, through S3.

    Extract and load run as one flow, not as two subflows, so that a failure sends one alert.
    """
    resolver = Resolver(blocks)
    extract = extract_settings(
        resolver,
        MEMBERS,
        department_id,
        bucket,
        path,
        column_names,
        exclude_columns,
        hash_columns,
        expand=expand_subdepartments,
    )
    load = load_settings(resolver, schema_name, table_name)
    options = LoadOptions(
        schema_contract=schema_contract,
        max_rejected=max_rejected,
        on_departure=on_departure,
        max_departures=max_departures,
        max_emptied=max_emptied,
        history=history,
        dry_run=dry_run,
        show_values=show_values,
    ).checked(resolver.problems)
    resolver.finish()
    return publish_and_apply(
        extract,
        load,
        options,
        expand=expand_subdepartments,
        include_subdepartments=include_subdepartments,
        allow_shrink=allow_shrink,
        allow_hash_change=allow_hash_change,
        create_table=create_table,
        blocks=blocks,
        names=("department-sync", "lms-to-s3"),
    )


def publish_and_apply(
    extract: ExtractSettings,
    load: LoadSettings,
    options: LoadOptions,
    *,
    names: tuple[str, str],
    allow_shrink: bool,
    allow_hash_change: bool,
    create_table: bool,
    blocks: str | None,
    expand: bool = False,
    include_subdepartments: bool = False,
) -> dict[str, dict[str, Any]]:
    """Extract, then load, for any stream; the load reads the object back from S3. A dry run writes no object.

    All scopes are read before any is loaded, so that a member who moved between them does not count as a leaver.

    Args:
        names: the names of the flow and of its extract; used as report keys.
    """
    flow_name, extract_name = names
    with run_folder() as folder:
        outcomes, extracted = publish_snapshots(
            extract,
            folder,
            expand=expand,
            include_subdepartments=include_subdepartments,
            allow_shrink=allow_shrink,
            allow_hash_change=allow_hash_change,
            dry_run=options.dry_run,
            blocks=blocks,
            report_key=extract_name,
            flow_key=flow_name,
        )
        table = None
        # ids of every scope that was read, published or not: a member found in another one has moved, not left
        ids = ids_of_all(outcome.ids for outcome in outcomes.found.values() if outcome.ids is not None)
        for outcome in outcomes.remaining(LOADING):
            with outcomes.attempt(outcome):
                snapshot = read_published(extracted[outcome.scope.id], outcome.scope, options, blocks)
                report, table = apply_snapshot(
                    snapshot, load, options, create_table=create_table, blocks=blocks, ids_in_run=ids, known=table
                )
                outcome.loaded = outcomes.report("s3-to-rds", report)
        empty = [outcome.scope for outcome in outcomes.found.values() if outcome.empty and not options.dry_run]
        announce_empty(empty, load)
        outcomes.finish(unlisted(outcomes, load, blocks))
    return {extract_name.replace("-", "_"): outcomes.extracted, "s3_to_rds": outcomes.loaded}


def read_published(each: Extracted, scope: Scope, options: LoadOptions, blocks: str | None) -> Snapshot:
    """The published snapshot, read back from S3; in a dry run, as it would have been.

    Raises:
        ObjectInvalid: another scope's object has replaced it.
    """
    if options.dry_run:
        return unpublished(each.flat, each.published)
    snapshot = read_object(each.published.object, each.flat.path, blocks=blocks)
    if snapshot.scope != scope:
        raise ObjectInvalid(
            f"{snapshot.object}: expected the snapshot of {scope} that this run published, found the snapshot of "
            f"{snapshot.scope}. Nothing was loaded. Give each its own path."
        )
    return replace(snapshot, scope=scope)  # the same, with its name


def unlisted(outcomes: Outcomes, load: LoadSettings, blocks: str | None) -> dict[str, str]:
    """For the report: scopes that have rows in the table but that the LMS no longer lists."""
    if not outcomes.expanded or outcomes.seen is None:
        return {}
    try:
        return find_gone_scopes(load, outcomes.stream, outcomes.seen, frozenset(outcomes.found), blocks=blocks)
    except PipelineError as error:  # everything is loaded; the next run can report them
        return {"No longer listed by the LMS": f"could not be checked ({type(error).__name__})"}


if __name__ == "__main__":
    raise SystemExit(main(department_sync))
