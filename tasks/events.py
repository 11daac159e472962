"""Prefect events of this pipeline's own: what the watch, or an automation of yours, may wait for.

department-members.loaded        a load was committed; the resource is the table, the payload its counts
department-members.failure-told  somebody was told of a failed run; the resource is the run
department-members.watched       loads of a department are expected from now on; the resource is the table
department-members.retired       no load of a department is expected any more; the resource is the table
"""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL

from tasks.log import run_logger
from tasks.streams import Scope, Stream

LOADED = "department-members.loaded"
FAILURE_TOLD = "department-members.failure-told"
WATCHED = "department-members.watched"
RETIRED = "department-members.retired"
TAG = "department-members"
"""Runs with this tag are watched: those of the deployments, and the scripts'."""


def failure_told(failed: FlowRun, by: str) -> None:
    """Nobody else need tell of that run."""
    resource = {"prefect.resource.id": f"prefect.flow-run.{failed.id}", "prefect.resource.name": failed.name}
    emit(FAILURE_TOLD, resource, tags=failed.tags, payload={"by": by})


def table_resource(schema: str, table: str, scope: Scope | None) -> dict[str, str]:
    """A table, and the scope whose rows go there; a file without metadata has none."""
    name = f"{schema}.{table}"
    resource = {"prefect.resource.id": f"department-members.table.{name}", "prefect.resource.name": name}
    return {**resource, scope_label(scope.stream): scope.id} if scope else resource


def scope_label(stream: Stream) -> str:
    """The label of a table's resource that says whose rows were loaded: department-members.department, for members."""
    return f"department-members.{stream.scope}"


def emit(event: str, resource: dict[str, str], *, tags: Iterable[str], payload: dict[str, Any] | None = None) -> None:
    """Prefect has the event when this returns; where it does not take it, the log says so and nothing else happens.

    Not by Prefect's own `emit_event`, which leaves it to a thread that a killed process takes with it. A run that
    has a Prefect of its own has nobody to tell.
    """
    if PREFECT_API_URL.value() is None:
        return
    roles = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in tags]
    told = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": resource,
        "related": roles,
        "payload": payload or {},
    }
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[told])
    except httpx.HTTPError as error:
        run_logger().warning("Prefect did not take the event %s (%s)", event, type(error).__name__)
