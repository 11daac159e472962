"""The person in Prefect: runs whose log names them, and reports that do, such as those of a dry run's differences."""

import json
import time
from collections.abc import Iterator
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterTextSearch
from prefect.client.schemas.objects import Artifact, Log

from commands.erasure.person import Found, Person

PAGE = 200
DELETED_WITHIN_S = 30.0
"""Prefect deletes the log of a deleted run a little later, in the background."""


def logs_naming(client: SyncPrefectClient, person: Person) -> list[Log]:
    """Every line of a log that holds the person's id."""
    wanted = LogFilter(text=LogFilterTextSearch(query=f'"{person.id}"'))
    found: list[Log] = []
    while page := client.read_logs(wanted, limit=PAGE, offset=len(found)):
        found += page
    return found


def artifacts_naming(client: SyncPrefectClient, person: Person) -> Iterator[Artifact]:
    """Every report that holds the person's id."""
    offset = 0
    while page := client.read_artifacts(limit=PAGE, offset=offset):
        offset += len(page)
        yield from (
            each for each in page if person.id in json.dumps([each.data, each.description], default=str).lower()
        )


def find_runs(client: SyncPrefectClient, person: Person) -> list[Found]:
    """What names the person in Prefect."""
    lines = logs_naming(client, person)
    runs, without = runs_of(lines), sum(line.flow_run_id is None for line in lines)
    found = [
        Found("Prefect", len(list(artifacts_naming(client, person))), "reports, deleted"),
        Found("Prefect", len(runs), "runs whose log has the id, deleted with their logs"),
        Found("Prefect", without, "lines of logs that belong to no run, which its API cannot delete", is_left=True),
    ]
    return [each for each in found if each.count]


def runs_of(lines: list[Log]) -> set[UUID]:
    """The runs that wrote these lines."""
    return {line.flow_run_id for line in lines if line.flow_run_id is not None}


def erase_runs(client: SyncPrefectClient, person: Person) -> None:
    """Delete these reports, and these runs with their logs."""
    for artifact in list(artifacts_naming(client, person)):
        if artifact.id is not None:
            client.delete_artifact(artifact.id)
    for run in runs_of(logs_naming(client, person)):
        client.delete_flow_run(run)
    end = time.monotonic() + DELETED_WITHIN_S
    while runs_of(logs_naming(client, person)) and time.monotonic() < end:
        time.sleep(0.5)
