"""One SNS message a failed run, with nothing secret and nothing personal in it."""

import re
import traceback
from typing import Any

from prefect import Flow, Task
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.utilities.urls import url_for

from blocks.resolve import alert_topic
from tasks.errors import PipelineError
from tasks.events import failure_told

SUBJECT_LIMIT = 99


def tell_of_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Publish one message for a failed or crashed run; a flow inside a flow leaves it to the outer one.

    Whatever goes wrong here is logged and never hides the run's own error.
    """
    log = flow_run_logger(flow_run, flow)
    if flow_run.parent_task_run_id is not None:
        failure_told(flow_run, "the outer run")
        return
    try:
        topic = alert_topic(flow_run.parameters.get("blocks"))
        if topic is None:
            log.warning("no alert topic is set (SNS_TOPIC_ARN), so nobody is told of this failure")
            return
        topic.publish(*message(flow, flow_run, state))
        failure_told(flow_run, "its own hook")
        log.info("the failure was published to %s", topic.topic_arn)
    except Exception as error:
        log.error(
            "the failure could not be published: %s. Check SNS_TOPIC_ARN and the AWS rights.", type(error).__name__
        )


def message(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> tuple[str, str]:
    """Subject and body. An error that is not ours may say anything, so only its type is told."""
    error = state.result(raise_on_failure=False) if state.is_failed() else None
    kind = type(error).__name__ if isinstance(error, BaseException) else state.name or "Crashed"
    if isinstance(error, PipelineError):
        what = str(error)
    elif state.is_crashed():
        what = f"The run was ended from outside{exit_code(state)} before it was done. What was not committed is undone."
    else:
        what = f"An unexpected {kind}. The run's log has the details."
    lines = [
        f"Flow: {flow.name}",
        f"Run:  {flow_run.name} ({flow_run.id})",
        f"Step: {step_of(error) if state.is_failed() else 'not known'}",
        "",
        f"{kind}: {what}",
        "",
        f"Look: {url_for(flow_run) or 'the log of the machine that ran it'}",
        f"Help: docs/runbook/{page(error, state)}.md",
    ]
    return subject_line(f"{flow.name} failed ({kind})"), "\n".join(lines)


def subject_line(text: str) -> str:
    """A subject that SNS takes: one line of less than 100 ASCII characters.

    >>> subject_line("no load into Geschäft.members")
    'department-members: no load into Gesch?ft.members'
    """
    line = " ".join(f"department-members: {text}".split())
    return line.encode("ascii", "replace").decode()[:SUBJECT_LIMIT]


def exit_code(state: State[Any]) -> str:
    """The process's exit code, where a worker saw it; nothing else of the state's message, which may say anything."""
    found = re.search(r"status code[: ]+(-?\d+)", state.message or "")
    return f" (exit code {found[1]})" if found else ""


def page(error: object, state: State[Any]) -> str:
    """The name of the runbook's page: that of the error's branch of the tree, where it is ours."""
    ours = [kind.__name__ for kind in type(error).__mro__ if PipelineError in kind.__bases__]
    return next(iter(ours), "Crashed" if state.is_crashed() else "Unexpected")


def step_of(error: object) -> str:
    """The task in which an error was raised, by its traceback."""
    if isinstance(error, BaseException):
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if isinstance(frame.f_globals.get(frame.f_code.co_name), Task):
                return frame.f_code.co_name
    return "before or between the tasks"
