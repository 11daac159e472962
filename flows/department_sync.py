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
    department_id: str | None = None,
    bucket: str | None = None,
    path: str | None = None,
    include_subdepartments: bool = False,
    allow_shrink: bool = False,
    column_names: dict[str, str] | None = None,
    exclude_columns: list[str] | None = None,
    schema_name: str | None = None,
    table_name: str | None = None,
    create_table: bool = False,
    schema_contract: SchemaContract = "ignore",
    max_rejected: str | None = None,
    on_departure: OnDeparture = "keep",
    max_departures: str = "20%",
    max_emptied: str | None = None,
    dry_run: bool = False,
    show_values: bool = False,
    blocks: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Bring one department's table up to date with the LMS, by way of S3.

    The two stories run as one flow, not as two flows inside it: a failure is told of once, and a
    retry repeats one task.

    Args:
        department_id: the department's GUID; else DEPARTMENT_ID.
        bucket: where the CSV goes; else the saved block's, else S3_BUCKET_NAME.
        path: the CSV's key, which may hold {department_id} and {snapshot_at:%Y/%m/%d}; else S3_DEPARTMENT_MEMBERS_PATH.
        include_subdepartments: take in rows that the LMS gives from departments below, too.
        allow_shrink: publish even no members, or less than half of those last published.
        column_names: LMS key to column, over the built-in names; else LMS_COLUMN_NAMES.
        exclude_columns: keys or columns to leave out; else LMS_EXCLUDE_COLUMNS.
        schema_name: the table's schema; else BUSINESS_TRACKING_SCHEMA.
        table_name: the table; else BUSINESS_TRACKING_TABLE.
        create_table: create the table, by tasks/load/sql/department_members.sql, where it is missing.
        schema_contract: columns that the table lacks are left out (ignore), added (evolve), or an error (fail).
        max_rejected: rows that may be refused, as a number or a percentage; else 1 %, at least 10.
        on_departure: members who left are kept, marked in departed_at, or deleted.
        max_departures: the most who may leave at once, as a number or a percentage.
        max_emptied: the most stored values of a column that may become null, or a percentage; else 50 %, at least 10.
        dry_run: do everything but write to S3 or the table: real counts and the first differences.
        show_values: let the differences show values, which are personal data.
        blocks: the name under which this environment's blocks are saved; without it, the environment.
    """
    resolver = Resolver(blocks)
    extract = extract_settings(resolver, MEMBERS, department_id, bucket, path, column_names, exclude_columns)
    load = load_settings(resolver, MEMBERS, schema_name, table_name)
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
        )
        if dry_run:
            snapshot = unpublished(flat, published)
        else:
            snapshot = read_object(published.object, folder / "snapshot.csv", blocks=blocks)
        loaded = apply_snapshot(snapshot, load, options, create_table=create_table, blocks=blocks)
    return {"lms_to_s3": extracted, "s3_to_rds": loaded}


if __name__ == "__main__":
    raise SystemExit(main(department_sync))
