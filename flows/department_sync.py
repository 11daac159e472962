"""LMS to S3 to PostgreSQL in one run: lms_to_s3 and s3_to_rds in a row.

python flows/department_sync.py --help
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # `python flows/department_sync.py` puts flows/ on the path, not the project
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from commands.startup import begin

    begin(__file__)

from prefect import flow

from commands.flow_script import main
from flows import parameters
from flows.lms_to_s3 import publish_snapshot
from flows.s3_to_rds import apply_snapshot
from tasks.alert import tell_of_failure
from tasks.extract.publish import unpublished
from tasks.files import run_folder
from tasks.options import LoadOptions, OnDeparture, SchemaContract
from tasks.s3 import read_object
from tasks.settings import Resolver, extract_settings, load_settings
from tasks.streams import MEMBERS
from tasks.task_options import FLOW, run_name


@flow(
    name="department-sync",
    flow_run_name=run_name,
    on_failure=[tell_of_failure],
    on_crashed=[tell_of_failure],
    **FLOW,
)
def department_sync(
    department_id: str | None = parameters.DEPARTMENT_ID,
    bucket: str | None = parameters.BUCKET,
    path: str | None = parameters.PATH,
    include_subdepartments: bool = parameters.INCLUDE_SUBDEPARTMENTS,
    allow_shrink: bool = parameters.ALLOW_SHRINK,
    column_names: dict[str, str] | None = parameters.COLUMN_NAMES,
    exclude_columns: list[str] | None = parameters.EXCLUDE_COLUMNS,
    schema_name: str | None = parameters.SCHEMA_NAME,
    table_name: str | None = parameters.TABLE_NAME,
    create_table: bool = parameters.CREATE_TABLE,
    schema_contract: SchemaContract = parameters.SCHEMA_CONTRACT,
    max_rejected: str | None = parameters.MAX_REJECTED,
    on_departure: OnDeparture = parameters.ON_DEPARTURE,
    max_departures: str = parameters.MAX_DEPARTURES,
    max_emptied: str | None = parameters.MAX_EMPTIED,
    dry_run: bool = parameters.DRY_RUN,
    show_values: bool = parameters.SHOW_VALUES,
    blocks: str | None = parameters.BLOCKS,
) -> dict[str, dict[str, Any]]:
    """Bring one department's table up to date with the LMS, by way of S3.

    The two stories run as one flow, not as two flows inside it: a failure is told of once, and a
    retry repeats one task.

    The parameters are explained in flows/parameters.py.
    """
    resolver = Resolver(blocks)
    extract = extract_settings(resolver, MEMBERS, department_id, bucket, path, column_names, exclude_columns)
    load = load_settings(resolver, schema_name, table_name)
    options = LoadOptions(
        schema_contract,
        max_rejected,
        on_departure,
        max_departures,
        max_emptied,
        dry_run=dry_run,
        show_values=show_values,
    ).checked(resolver.problems)
    resolver.finish()
    with run_folder() as folder:
        flat, published, extracted = publish_snapshot(
            extract,
            folder,
            include_subdepartments=include_subdepartments,
            allow_shrink=allow_shrink,
            dry_run=dry_run,
            blocks=blocks,
            report_key="lms-to-s3",
        )
        if dry_run:
            snapshot = unpublished(flat, published)
        else:
            snapshot = read_object(published.object, folder / "snapshot.csv", blocks=blocks)
        loaded = apply_snapshot(snapshot, load, options, create_table=create_table, blocks=blocks)
    return {"lms_to_s3": extracted, "s3_to_rds": loaded}


if __name__ == "__main__":
    raise SystemExit(main(department_sync))
