"""One SNS alert per failed run, without secrets, personal data or forged lines."""

import logging
import re
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.logging.loggers import flow_run_logger
from prefect.utilities.urls import url_for

from blocks.alerts import AlertTopic
from tasks.chat import in_format
from tasks.credentials import alert_topic, environment_topic, read_environment
from tasks.errors import PipelineError
from tasks.events import emit_alert_sent
from tasks.local_server import is_shared
from tasks.log import Logger, OneLine
from tasks.outcomes import failed_so_far, listed
from tasks.scopes_report import step_of
from tasks.text import harmless, subject_line, without_user

_LOG = logging.getLogger("department_members")
published: set[str] = set()
"""The runs of this process whose failure was published, or that have no topic to publish to."""
unsent: list[tuple[str, str]] = []
"""The alerts of this process that SNS did not accept, or did not confirm."""


def alert_of_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Send one alert for a failed or crashed run; a flow called by another leaves it to the outer flow.

    Whatever goes wrong here is logged and never hides the run's own error.
    """
    log = OneLine(flow_run_logger(flow_run, flow), {})
    if outer_run_alerts(FlowRunContext.get()):
        emit_alert_sent(flow_run, "the outer run")
        return
    if publish(*message(flow, flow_run, state), flow_run.parameters.get("blocks"), str(flow_run.id), log):
        emit_alert_sent(flow_run, "its own hook")


def outer_run_alerts(own: FlowRunContext | None) -> bool:
    """Whether the flow that called this one, in the same process, also sends alerts.

    A run started by `run_deployment` has a parent run too, but in another process, and it is not known whether that
    parent sends alerts. Prefect keeps the caller's context only in the context variable's token.
    """
    outer = getattr(getattr(own, "_token", None), "old_value", None)
    return isinstance(outer, FlowRunContext) and alert_of_failure in (
        getattr(outer.flow, "on_failure_hooks", None) or []
    )


def alert_of_script(flow_name: str, blocks: str | None, error: BaseException) -> None:
    """Send the alert for a failed script if its run's hook did not; the run may never have reached Prefect."""
    # a script runs one flow, whose hook has already sent the alert or has no topic
    if published:
        return
    log = OneLine(_LOG, {})
    if unsent:
        publish(*unsent[-1], blocks, "script", log)
        return
    kind = type(error).__name__
    body = [
        f"Flow: {flow_name}",
        "Run:  a script whose run did not start or could not finish cleanly",
        "",
        *said(
            kind, error, f"An unexpected {kind} before the run started or while it was ending. See the script's output."
        ),
        "",
        "Look: at the script's output, on the machine that ran it",
        f"Help: docs/runbook/{page_of(error)}.md",
    ]
    publish(subject_line(f"{flow_name} failed ({kind})"), "\n".join(body), blocks, "script", log)


def publish(subject: str, body: str, blocks: str | None, run: str, log: Logger) -> bool:
    """Publish to the topic of the blocks, or of the environment where those cannot be read; whether SNS took it."""
    try:
        topic = topic_of(blocks)
        if topic is None:
            published.add(run)
            log.warning("no alert topic is set (SNS_TOPIC_ARN), so no alert was sent for this failure")
            return False
        topic.publish(subject, in_format(topic.alert_format, subject, body))
    except Exception as error:
        # kept, so that a script can try once more at its end
        unsent.append((subject, body))
        log.error(
            "the alert could not be published: %s. Check SNS_TOPIC_ARN and the AWS permissions.", type(error).__name__
        )
        return False
    published.add(run)
    log.info("the alert was published to %s", topic.topic_arn)
    return True


def topic_of(blocks: str | None) -> AlertTopic | None:
    """The topic of the block set; the environment's, if Prefect's blocks cannot be read."""
    try:
        return alert_topic(blocks)
    except Exception:
        topic = environment_topic(read_environment())
        if topic is None:
            raise
        return topic


def message(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> tuple[str, str]:
    """Subject and body. The text of an unexpected error may contain personal data, so only its type is included."""
    error = state.result(raise_on_failure=False) if state.is_failed() else None
    kind = type(error).__name__ if isinstance(error, BaseException) else state.name or "Crashed"
    if state.is_crashed():
        what = f"The run was ended from outside{exit_code(state)} before it finished. Uncommitted work was rolled back."
    else:
        what = f"An unexpected {kind}. The run's log has the details."
    lines = [
        f"Flow: {harmless(flow.name)}",
        f"Run:  {harmless(flow_run.name)} ({flow_run.id})",
        f"Step: {step_of(error) if state.is_failed() else 'unknown'}",
        "",
        *said(kind, error, what),
        *failed_before(str(flow_run.id)),
        "",
        f"Look: {where_to_look(flow_run)}",
        f"Help: docs/runbook/{runbook_page(error, state)}.md",
    ]
    return subject_line(f"{flow.name} failed ({kind})"), "\n".join(lines)


def where_to_look(flow_run: FlowRun) -> str:
    """The run's page in Prefect's UI, if there is one."""
    # a script's own server has no pages, and ends with the script
    address = url_for(flow_run) if is_shared() else None
    return without_user(address) if address else "at the log on the machine that ran it"


def said(kind: str, error: object, otherwise: str) -> list[str]:
    """The message of a PipelineError, with a line per problem; for any other error, `otherwise`."""
    if not isinstance(error, PipelineError):
        return [f"{kind}: {otherwise}"]
    return [f"{kind}: {harmless(error.message)}", *(f"  - {harmless(problem)}" for problem in error.problems)]


def failed_before(run: str) -> list[str]:
    """The departments or courses that had failed before a run ended with another error."""
    failures = listed(failed_so_far.pop(run, []))
    return (
        ["", "Failed earlier, each for its own reason:", *(f"  - {harmless(f)}" for f in failures)] if failures else []
    )


def exit_code(state: State[Any]) -> str:
    """The process's exit code, where a worker saw it; nothing else of the state's message, which may say anything."""
    # Prefect's worker and its runner write it differently: "status code 1", "status code: -9"
    found = re.search(r"status code[: ]+(-?\d+)", state.message or "")
    return f" (exit code {found[1]})" if found else ""


def runbook_page(error: object, state: State[Any]) -> str:
    """The name of the runbook's page: that of the error's branch of the tree, where it is ours."""
    return page_of(error, "Crashed" if state.is_crashed() else "Unexpected")


def page_of(error: object, otherwise: str = "Unexpected") -> str:
    """The runbook's page for an error of ours."""
    if isinstance(error, KeyboardInterrupt):
        return "Crashed"
    return next((kind.__name__ for kind in type(error).__mro__ if PipelineError in kind.__bases__), otherwise)
