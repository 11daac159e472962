"""LMS to S3 to PostgreSQL for course enrollments: course_to_s3, then s3_to_rds.

python flows/course_sync.py --help
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # `python flows/course_sync.py` puts flows/ on the path, not the project
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from commands.startup import begin

    begin(__file__)

from prefect import flow

from commands.flow_script import main
from flows import parameters
from flows.department_sync import publish_and_apply
from tasks.alert import alert_of_failure
from tasks.options import LoadOptions
from tasks.settings import Resolver, extract_settings, load_settings
from tasks.streams import ENROLLMENTS
from tasks.task_options import FLOW, run_name


@flow(
    name="course-sync",
    flow_run_name=run_name,
    on_failure=[alert_of_failure],
    on_crashed=[alert_of_failure],
    **FLOW,
)
@parameters.documented
def course_sync(
    course_id: parameters.CourseId = None,
    bucket: parameters.Bucket = None,
    path: parameters.CoursePath = None,
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
    """Update the enrollments of one or more courses from the LMS, through S3."""
    resolver = Resolver(blocks)
    extract = extract_settings(
        resolver, ENROLLMENTS, course_id, bucket, path, column_names, exclude_columns, hash_columns
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
        allow_shrink=allow_shrink,
        allow_hash_change=allow_hash_change,
        create_table=create_table,
        blocks=blocks,
        names=("course-sync", "course-to-s3"),
    )


if __name__ == "__main__":
    raise SystemExit(main(course_sync))
