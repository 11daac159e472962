"""Prefect events that this pipeline emits, for the watch and for your own automations.

department-members.loaded        a load was committed; the resource is the table, the payload its counts
department-members.failure-told  an alert was sent for a failed run; the resource is the run
department-members.watched       loads of a department are expected from now on; the resource is the table
department-members.retired       loads of a department are no longer expected; the resource is the table
"""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from tasks.local_server import is_shared
from tasks.log import run_logger
from tasks.streams import Scope, Stream

# These names stay as they are, whatever messages say today: automations that people have set up refer to them.
LOADED = "department-members.loaded"
FAILURE_TOLD = "department-members.failure-told"
WATCHED = "department-members.watched"
RETIRED = "department-members.retired"
TAG = "department-members"
"""Runs with this tag are watched: those of the deployments, and the scripts'."""


def emit_alert_sent(failed: FlowRun, by: str) -> None:
    """Emit the event that says that the run's failure needs no further alert."""
    resource = {"prefect.resource.id": f"prefect.flow-run.{failed.id}", "prefect.resource.name": failed.name}
    emit(FAILURE_TOLD, resource, tags=failed.tags, payload={"by": by})


def table_resource(schema: str, table: str, scope: Scope | None) -> dict[str, str]:
    """A table, and the scope whose rows go there; a file without metadata has none."""
    name = f"{schema}.{table}"
    resource = {"prefect.resource.id": f"department-members.table.{name}", "prefect.resource.name": name}
    if scope is None:
        return resource
    named = {name_label(scope.stream): scope.name} if scope.name else {}
    return {**resource, scope_label(scope.stream): scope.id, **named}


def scope_label(stream: Stream) -> str:
    """The label of a table's resource that says whose rows were loaded: department-members.department, for members."""
    return f"department-members.{stream.scope_noun}"


def name_label(stream: Stream) -> str:
    """The label with the scope's name, where the run that loaded it knows the name."""
    return f"{scope_label(stream)}-name"


def emit(event: str, resource: dict[str, str], *, tags: Iterable[str], payload: dict[str, Any] | None = None) -> None:
    """Send an event to Prefect and wait until it is accepted; on failure, log a warning and continue.

    Prefect's `emit_event` is not used, since it sends from a thread that dies with a killed process. Does nothing in a
    script that starts its own Prefect server.
    """
    if not is_shared():
        return
    roles = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in tags]
    # Prefect answers 422 to an event without an id or a time, and to one that is not in a list.
    sent = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": resource,
        "related": roles,
        "payload": payload or {},
    }
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[sent])
    except httpx.HTTPError as error:
        run_logger().warning("Prefect did not accept the event %s (%s)", event, type(error).__name__)
