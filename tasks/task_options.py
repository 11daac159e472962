"""How the tasks run: nothing persisted, and retried only where a retry can help."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.tasks import Task

from tasks.errors import PipelineError
from tasks.log import run_logger
from tasks.text import harmless

IN_MEMORY: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
"""A persisted result would lie readable in storage; two secrets would share one cache key."""

ONCE: dict[str, Any] = {"retries": 0, "retry_delay_seconds": 0}
"""Said, since Prefect's own default is a setting (PREFECT_TASKS_DEFAULT_RETRIES): a wrong password is tried once."""
FLOW: dict[str, Any] = {**ONCE, "persist_result": False, "log_prints": False}
"""For every flow; what Prefect's settings would decide otherwise is said."""


def may_help(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: whether the error that ended the task is one that a retry can cure."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, PipelineError) and error.retriable


RETRIED: dict[str, Any] = {"retries": 3, "retry_delay_seconds": [1, 4, 15], "retry_condition_fn": may_help}
"""S3 or the database out of reach for some seconds; the clients below repeat nothing themselves."""


def run_name() -> str:
    """What the UI calls a run: its flow, what it is about, and when, as `s3-to-rds members.csv 2026-03-01 02:00`."""
    parameters = flow_run.parameters
    subject = parameters.get("key") or parameters.get("department_id") or parameters.get("course_id") or ""
    return name_about("" if "," in subject else subject.rpartition("/")[2])


def name_about(subject: str) -> str:
    """The flow, what its run is about, and when."""
    return " ".join(filter(None, (flow_run.flow_name, harmless(subject), f"{datetime.now(UTC):%Y-%m-%d %H:%M}")))


def rename_run(subject: str) -> None:
    """The run is about that, as is known only now; Prefect being out of reach is no reason to end it."""
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(str(flow_run.id)), name=name_about(subject))
    except (httpx.HTTPError, ObjectNotFound, ValueError) as error:
        run_logger().info("the run could not be renamed (%s)", type(error).__name__)


HEARTBEAT_S = 30
"""How often a run says that it lives: the shortest that Prefect allows. prefect.yaml has it for workers."""
