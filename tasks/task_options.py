"""Task options: nothing is persisted, and a task is retried only if a retry can help."""

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
"""A persisted result would be readable in storage, and two secrets could share a cache key."""

ONCE: dict[str, Any] = {"retries": 0, "retry_delay_seconds": 0}
"""Set explicitly, since PREFECT_TASKS_DEFAULT_RETRIES could change the default: a wrong password is tried once."""
FLOW: dict[str, Any] = {**ONCE, "persist_result": False, "log_prints": False}
"""For every flow; set explicitly so that Prefect's settings cannot change it."""


def is_retryable(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: whether the error that ended the task is one that a retry can cure."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, PipelineError) and error.retriable


RETRIED: dict[str, Any] = {"retries": 3, "retry_delay_seconds": [1, 4, 15], "retry_condition_fn": is_retryable}
"""For S3 or a database that is briefly unreachable; the clients themselves do not retry."""


def run_name() -> str:
    """The run's name in the UI: flow, subject and time, for example `s3-to-rds members.csv 2026-03-01 02:00`."""
    parameters = flow_run.parameters
    subject = parameters.get("key") or parameters.get("department_id") or parameters.get("course_id") or ""
    # several ids make no name; `rename_run` gives one once the scopes are known
    return name_about("" if "," in subject else subject.rpartition("/")[2])


def name_about(subject: str) -> str:
    """The flow, what its run is about, and when."""
    return " ".join(filter(None, (flow_run.flow_name, harmless(subject), f"{datetime.now(UTC):%Y-%m-%d %H:%M}")))


def rename_run(subject: str) -> None:
    """Rename the run once its subject is known; if Prefect cannot be reached, the run goes on."""
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(str(flow_run.id)), name=name_about(subject))
    except (httpx.HTTPError, ObjectNotFound, ValueError) as error:
        run_logger().info("the run could not be renamed (%s)", type(error).__name__)


HEARTBEAT_S = 30
"""Seconds between heartbeats, the shortest that Prefect allows. prefect.yaml sets the same for workers."""
