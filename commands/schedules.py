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
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL

from tasks.events import TAG
from tasks.text import one_line

FILE = Path("prefect.yaml")
PAGE = 200


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
    """Every schedule of these deployments, in the file, in Prefect or in both; and other schedules of ours.

    What the file leaves to variables (`{{ … }}`) is not compared.
    """
    there = all_deployments(client)
    entrypoints = {wanted.get("entrypoint") for wanted in deployments} - {None}
    for wanted in deployments:
        same = [each for each in there if each.name == wanted["name"]]
        found = next((each for each in same if each.entrypoint == wanted.get("entrypoint")), same[0] if same else None)
        if found is not None:
            there.remove(found)
        else:
            yield Finding(wanted["name"], "-", "MISSING", "is not deployed; run prefect deploy --all")
            continue
        in_file = [InFile.of(entry) for entry in wanted.get("schedules") or []]
        for schedule in found.schedules:
            entry = next((each for each in in_file if each.is_same(schedule)), None)
            if entry is not None:
                in_file.remove(entry)
            yield finding(found, schedule, entry)
        for entry in in_file:
            yield Finding(
                found.name, entry.slug or "-", "MISSING", f"in {FILE}, but not scheduled; run prefect deploy --all"
            )
    for found in there:
        if TAG in found.tags or found.entrypoint in entrypoints:
            for schedule in found.schedules:
                text = f"{described(schedule)}; the deployment is not in {FILE}, but still scheduled"
                yield Finding(found.name, schedule.slug or "-", "EXTRA", text, (found.id, schedule.id))


def all_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Every deployment that Prefect has."""
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(limit=PAGE, offset=len(found)):
        found += page
    return found


@dataclass(frozen=True)
class InFile:
    """One schedule as the file has it; None for what it leaves to a variable, or does not say."""

    slug: str | None
    cron: str | None
    timezone: str | None
    active: bool | None
    parameters: dict[str, Any] | None

    @classmethod
    def of(cls, entry: dict[str, Any]) -> "InFile":
        """From an entry of `schedules`."""
        known = {name: value for name, value in entry.items() if "{{" not in str(value)}
        own = known.get("parameters", None if "parameters" in entry else {})
        slug = None if entry.get("slug") is None else str(entry["slug"])
        return cls(slug, known.get("cron"), known.get("timezone"), known.get("active"), own)

    def is_same(self, schedule: DeploymentSchedule) -> bool:
        """Whether that is this schedule: by its slug, or without one, by its content."""
        return self.slug == schedule.slug and (self.slug is not None or not self.differences(schedule))

    def differences(self, schedule: DeploymentSchedule) -> list[str]:
        """What differs between Prefect's schedule and the file's."""
        pairs = {
            "cron": (self.cron, getattr(schedule.schedule, "cron", None)),
            "timezone": (self.timezone, getattr(schedule.schedule, "timezone", None)),
            "active": (self.active, schedule.active),
            "parameters": (self.parameters, schedule.parameters),
        }
        return [name for name, (own, found) in pairs.items() if own is not None and own != found]


def finding(deployment: DeploymentResponse, schedule: DeploymentSchedule, entry: InFile | None) -> Finding:
    """One of Prefect's schedules compared with the file's, if the file has it."""
    slug, what = schedule.slug or "-", described(schedule)
    if entry is None:
        text = f"{what}; not in {FILE}, but still scheduled"
        return Finding(deployment.name, slug, "EXTRA", text, (deployment.id, schedule.id))
    parameters = (deployment.parameter_openapi_schema or {}).get("properties", {})
    if unknown := sorted({*schedule.parameters} - {*parameters}):
        return Finding(deployment.name, slug, "WRONG", f"{what}; the flow has no parameter {', '.join(unknown)}")
    if differences := entry.differences(schedule):
        text = f"{what}; differs from {FILE} in {', '.join(differences)}; run prefect deploy --all"
        return Finding(deployment.name, slug, "DIFFERS", text)
    return Finding(deployment.name, slug, "ok", what)


def described(schedule: DeploymentSchedule) -> str:
    """When it runs."""
    what = getattr(schedule.schedule, "cron", None) or type(schedule.schedule).__name__
    return f"{what}" + ("" if schedule.active else ", paused")


def main() -> int:
    """Exit 0 if both agree, else 1."""
    parser = argparse.ArgumentParser(prog="python -m commands.schedules", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--remove", action="store_true", help="remove schedules that are no longer in the file")
    options = parser.parse_args()
    if not PREFECT_API_URL.value():
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
