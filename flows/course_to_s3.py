"""LMS to S3: each course's enrollments, verified complete, as one CSV.

python flows/course_to_s3.py --help
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # `python flows/course_to_s3.py` puts flows/ on the path, not the project
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from commands.startup import begin

    begin(__file__)

from prefect import flow

from commands.flow_script import main
from flows import parameters
from flows.lms_to_s3 import publish_snapshots
from tasks.alert import alert_of_failure
from tasks.files import run_folder
from tasks.settings import Resolver, extract_settings
from tasks.streams import ENROLLMENTS
from tasks.task_options import FLOW, run_name


@flow(
    name="course-to-s3",
    flow_run_name=run_name,
    on_failure=[alert_of_failure],
    on_crashed=[alert_of_failure],
    **FLOW,
)
@parameters.documented
def course_to_s3(
    course_id: parameters.CourseId = None,
    bucket: parameters.Bucket = None,
    path: parameters.CoursePath = None,
    allow_shrink: parameters.AllowShrink = False,
    column_names: parameters.ColumnNames = None,
    exclude_columns: parameters.ExcludeColumns = None,
    hash_columns: parameters.HashColumns = None,
    allow_hash_change: parameters.AllowHashChange = False,
    dry_run: parameters.DryRun = False,
    blocks: parameters.Blocks = None,
) -> dict[str, Any]:
    """Publish all enrollments of each course, including historical ones, as one CSV in S3.

    If they are not complete, nothing is published.
    """
    resolver = Resolver(blocks)
    settings = extract_settings(
        resolver, ENROLLMENTS, course_id, bucket, path, column_names, exclude_columns, hash_columns
    )
    resolver.finish()
    with run_folder() as folder:
        outcomes, _ = publish_snapshots(
            settings,
            folder,
            allow_shrink=allow_shrink,
            allow_hash_change=allow_hash_change,
            dry_run=dry_run,
            blocks=blocks,
            report_key="course-to-s3",
        )
        outcomes.finish()
    return outcomes.extracted


if __name__ == "__main__":
    raise SystemExit(main(course_to_s3))
