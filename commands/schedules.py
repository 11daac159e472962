"""Compare the schedules in Prefect with prefect.yaml: `python -m commands.schedules [--remove]`.

Prefect keeps schedules that were removed from the file or renamed, and does not check parameter names.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from tasks.text import one_line

FILE = Path("prefect.yaml")


@dataclass(frozen=True)
class Finding:
    """One schedule, and how it compares with the file."""

    deployment: str
    slug: str
    verdict: str
    text: str
    extra: tuple[UUID, UUID] | None = None
    """For a schedule that is no longer in the file: the deployment's id and the schedule's id."""

    def line(self) -> str:
        """As it is printed."""
        return one_line(f"{self.verdict:<7} {self.deployment}: {self.slug}: {self.text}") + "\n"


def compare(client: SyncPrefectClient, deployments: list[dict[str, Any]]) -> Iterator[Finding]:
    """Every schedule of these deployments, as the file has it, as Prefect has it, or both."""
    for wanted in deployments:
        name = f"{wanted['name']}/{wanted['name']}"
        try:
            found = client.read_deployment_by_name(name)
        except ObjectNotFound:
            yield Finding(name, "-", "MISSING", "is not deployed; run prefect deploy --all")
            continue
        parameters = set(found.parameter_openapi_schema.get("properties", {}) if found.parameter_openapi_schema else {})
        in_file = {str(schedule.get("slug", "-")): schedule for schedule in wanted.get("schedules", [])}
        there = {schedule.slug or "-": schedule for schedule in found.schedules}
        for slug, schedule in there.items():
            what = getattr(schedule.schedule, "cron", None) or type(schedule.schedule).__name__
            what += "" if schedule.active else ", paused"
            unknown = sorted({*schedule.parameters} - parameters)
            if slug not in in_file:
                yield Finding(
                    name, slug, "EXTRA", f"{what}; not in {FILE}, but still scheduled", (found.id, schedule.id)
                )
            elif unknown:
                yield Finding(name, slug, "WRONG", f"{what}; the flow has no parameter {', '.join(unknown)}")
            else:
                yield Finding(name, slug, "ok", what)
        for slug in in_file.keys() - there.keys():
            yield Finding(name, slug, "MISSING", f"in {FILE}, but not scheduled; run prefect deploy --all")


def main() -> int:
    """Exit 0 if both agree, else 1."""
    parser = argparse.ArgumentParser(prog="python -m commands.schedules", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--remove", action="store_true", help="remove schedules that are no longer in the file")
    options = parser.parse_args()
    if PREFECT_API_URL.value() is None:
        sys.stderr.write("PREFECT_API_URL is not set; set it to the Prefect server to check\n")
        return 1
    deployments = yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]
    agree = True
    try:
        with get_client(sync_client=True) as client:
            for finding in compare(client, deployments):
                sys.stdout.write(finding.line())
                if finding.extra and options.remove:
                    client.delete_deployment_schedule(*finding.extra)
                    sys.stdout.write(f"removed {finding.deployment}: {one_line(finding.slug)}\n")
                elif finding.verdict != "ok":
                    agree = False
    except httpx.HTTPError as error:
        sys.stderr.write(f"Prefect did not answer ({type(error).__name__}). Check PREFECT_API_URL.\n")
        return 1
    return 0 if agree else 1


if __name__ == "__main__":
    raise SystemExit(main())
