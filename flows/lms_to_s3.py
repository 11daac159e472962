"""LMS to S3: each department's members, verified complete, as one CSV.

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
from tasks.alert import alert_of_failure
from tasks.extract.account_lock import one_run_an_account
from tasks.extract.fetch import authenticate, fetch_pages
from tasks.extract.flatten import flatten_pages
from tasks.extract.publish import Extracted, check_hash_keys, write_csv
from tasks.extract.report import extract_report
from tasks.extract.scopes import list_scopes
from tasks.files import page_folder, run_folder
from tasks.outcomes import READING, Outcomes
from tasks.settings import ExtractSettings, Resolver, extract_settings
from tasks.streams import MEMBERS
from tasks.task_options import FLOW, rename_run, run_name


@flow(
    name="lms-to-s3",
    flow_run_name=run_name,
    on_failure=[alert_of_failure],
    on_crashed=[alert_of_failure],
    **FLOW,
)
@parameters.documented
def lms_to_s3(
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
    dry_run: parameters.DryRun = False,
    blocks: parameters.Blocks = None,
) -> dict[str, Any]:
    """Publish each department's member list as one CSV in S3, or nothing if it is not complete."""
    resolver = Resolver(blocks)
    settings = extract_settings(
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
    resolver.finish()
    with run_folder() as folder:
        outcomes, _ = publish_snapshots(
            settings,
            folder,
            expand=expand_subdepartments,
            include_subdepartments=include_subdepartments,
            allow_shrink=allow_shrink,
            allow_hash_change=allow_hash_change,
            dry_run=dry_run,
            blocks=blocks,
            report_key="lms-to-s3",
        )
        outcomes.finish()
    return outcomes.extracted


def publish_snapshots(
    settings: ExtractSettings,
    folder: Path,
    *,
    allow_shrink: bool,
    allow_hash_change: bool,
    dry_run: bool,
    blocks: str | None,
    report_key: str,
    flow_key: str | None = None,
    expand: bool = False,
    include_subdepartments: bool = False,
) -> tuple[Outcomes, dict[str, Extracted]]:
    """The steps of the extract: sign in; then, for each scope, fetch all pages, flatten and write.

    Args:
        report_key: of each scope's report.
        flow_key: of the report about several scopes, if different.

    Returns the outcome of each scope, and the snapshots of the scopes that did not fail, by scope id.
    """
    extracted = {}
    # the lock before the sign-in, which ends another run's session; held until the last snapshot is published
    with one_run_an_account(blocks), authenticate(blocks) as session:
        listed = list_scopes(session, settings.scopes, expand=expand)
        rename_run(listed.subject)
        outcomes = Outcomes(
            listed.scopes,
            flow_key or report_key,
            expanded=expand,
            seen=listed.seen,
            unreadable=listed.unreadable,
            was_unavailable=listed.was_unavailable,
        )
        # with several scopes, compare all hash settings before the first object is published; write_csv checks only one
        if settings.names.hashed and not (outcomes.alone or allow_hash_change):
            check_hash_keys(listed.scopes, settings.names, settings.bucket, settings.path_template, blocks=blocks)
        for outcome in outcomes.remaining(READING):
            with outcomes.attempt(outcome), page_folder(folder, outcome.scope.id) as pages:
                others = listed.ids - {outcome.scope.id}
                raw = fetch_pages(session, outcome.scope, pages, include_foreign=include_subdepartments, others=others)
                outcome.ids = raw.ids
                flat = flatten_pages(raw, settings.names, folder / f"{outcome.scope.id}.csv", blocks=blocks)
                published = write_csv(
                    flat,
                    settings.bucket,
                    settings.path_template,
                    allow_shrink=allow_shrink,
                    allow_hash_change=allow_hash_change,
                    dry_run=dry_run,
                    blocks=blocks,
                )
                report = extract_report(raw, flat, published, dry_run=dry_run)
                outcome.extracted = outcomes.report(report_key, report)
                extracted[outcome.scope.id] = Extracted(flat, published)
    return outcomes, extracted


if __name__ == "__main__":
    raise SystemExit(main(lms_to_s3))
