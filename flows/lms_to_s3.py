"""LMS to S3: one department's members, proved complete, as one CSV.

python flows/lms_to_s3.py --help
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # `python flows/lms_to_s3.py` puts flows/ on the path, not the project
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from commands.startup import begin

    begin(__file__)

from prefect import flow

from commands.flow_script import main
from flows import parameters
from tasks.alert import tell_of_failure
from tasks.extract.account_lock import one_run_an_account
from tasks.extract.fetch import authenticate, fetch_pages
from tasks.extract.flatten import FlatSnapshot, flatten_pages
from tasks.extract.publish import Published, write_csv
from tasks.extract.report import extract_report
from tasks.files import run_folder
from tasks.report import tell
from tasks.settings import ExtractSettings, Resolver, extract_settings
from tasks.streams import MEMBERS
from tasks.task_options import FLOW, run_name


@flow(
    name="lms-to-s3",
    flow_run_name=run_name,
    on_failure=[tell_of_failure],
    on_crashed=[tell_of_failure],
    **FLOW,
)
@parameters.explained
def lms_to_s3(
    department_id: parameters.DepartmentId = None,
    bucket: parameters.Bucket = None,
    path: parameters.Path = None,
    include_subdepartments: parameters.IncludeSubdepartments = False,
    allow_shrink: parameters.AllowShrink = False,
    column_names: parameters.ColumnNames = None,
    exclude_columns: parameters.ExcludeColumns = None,
    dry_run: parameters.DryRun = False,
    blocks: parameters.Blocks = None,
) -> dict[str, Any]:
    """Publish one department's complete member list as one CSV in S3, or nothing."""
    resolver = Resolver(blocks)
    settings = extract_settings(resolver, MEMBERS, department_id, bucket, path, column_names, exclude_columns)
    resolver.finish()
    with run_folder() as folder:
        _, _, report = publish_snapshot(
            settings,
            folder,
            include_subdepartments=include_subdepartments,
            allow_shrink=allow_shrink,
            dry_run=dry_run,
            blocks=blocks,
            report_key="lms-to-s3",
        )
    return report


def publish_snapshot(
    settings: ExtractSettings,
    folder: Path,
    *,
    allow_shrink: bool,
    dry_run: bool,
    blocks: str | None,
    report_key: str,
    include_subdepartments: bool = False,
) -> tuple[FlatSnapshot, Published, dict[str, Any]]:
    """The story of the extract: sign in, fetch every page, flatten, write."""
    with one_run_an_account(blocks), authenticate(blocks) as session:
        raw = fetch_pages(session, settings.scope, folder, include_foreign=include_subdepartments)
    flat = flatten_pages(raw, settings.names, folder / "extract.csv")
    published = write_csv(
        flat, settings.bucket, settings.path_template, allow_shrink=allow_shrink, dry_run=dry_run, blocks=blocks
    )
    return flat, published, tell(report_key, extract_report(raw, flat, published, dry_run=dry_run))


if __name__ == "__main__":
    raise SystemExit(main(lms_to_s3))
