"""The person in Prefect: runs whose log, name or parameters name them, and reports, such as a dry run's differences."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterTextSearch
from prefect.client.schemas.objects import Artifact, FlowRun, Log
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort

from commands.erasure.person import Found, Person

T = TypeVar("T")
PAGE = 200
DELETED_WITHIN_S = 30.0
"""Prefect deletes the log of a deleted run a little later, in the background."""


def logs_naming(client: SyncPrefectClient, person: Person) -> list[Log]:
    """Every log line that contains the person's id."""
    wanted = LogFilter(text=LogFilterTextSearch(query=f'"{person.id}"'))
    found: list[Log] = []
    while page := client.read_logs(wanted, limit=PAGE, offset=len(found)):
        found += page
    return found


def artifacts_naming(client: SyncPrefectClient, person: Person) -> Iterator[Artifact]:
    """Every report that contains the person's id."""
    for each in every(client.read_artifacts):
        if person.id in json.dumps([each.data, each.description], default=str).lower():
            yield each


def runs_naming(client: SyncPrefectClient, person: Person) -> Iterator[FlowRun]:
    """Every run whose name or parameters contain the person's id or address, such as the key of a corrected file."""
    for run in every(client.read_flow_runs, sort=FlowRunSort.EXPECTED_START_TIME_ASC):
        if holds(person, [run.name, run.parameters]):
            yield run


def deployments_naming(client: SyncPrefectClient, person: Person) -> Iterator[DeploymentResponse]:
    """Every deployment whose own parameters, or those of a schedule, contain the person's id or address."""
    for each in every(client.read_deployments):
        if holds(person, [each.parameters, *(schedule.parameters for schedule in each.schedules)]):
            yield each


def every(read: Callable[..., list[T]], **options: Any) -> Iterator[T]:
    """Everything that the API lists, page by page."""
    offset = 0
    while page := read(limit=PAGE, offset=offset, **options):
        offset += len(page)
        yield from page


def holds(person: Person, values: Any) -> bool:
    """Whether the id in any spelling, its hash or an e-mail address is anywhere in these values.

    Does not look for a user name that is not an address: it may be a word like `true`, which many parameters contain.
    """
    person = replace(person, addresses=frozenset(each for each in person.addresses if "@" in each))
    text = json.dumps(values, default=str, ensure_ascii=False).lower()
    return bool(person.by_any.search(text.encode(errors="replace")))


def find_runs(client: SyncPrefectClient, person: Person) -> list[Found]:
    """What names the person in Prefect."""
    lines = logs_naming(client, person)
    deployments = [each.name for each in deployments_naming(client, person)]
    runs, without = runs_of(lines), sum(line.flow_run_id is None for line in lines)
    found = [
        Found("Prefect", len(list(artifacts_naming(client, person))), "reports, deleted"),
        Found("Prefect", len(runs), "runs whose log has the id, deleted with their logs"),
        Found(
            "Prefect",
            len(list(runs_naming(client, person))),
            "runs whose parameters have the id or an address, deleted",
        ),
        Found(
            "Prefect",
            len(deployments),
            f"deployments whose parameters have the id or an address; change them: {', '.join(deployments)}",
            is_left=True,
        ),
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
    by_parameters = {run.id for run in runs_naming(client, person)}
    for run in runs_of(logs_naming(client, person)) | by_parameters:
        client.delete_flow_run(run)
    end = time.monotonic() + DELETED_WITHIN_S
    while runs_of(logs_naming(client, person)) and time.monotonic() < end:
        time.sleep(0.5)
