"""The automations of the watch: what the Prefect server looks for, and what it then does.

They alert on what a run cannot report itself: crashed, stuck and missing runs, and a work pool without workers. The
server calls the webhook service, which publishes the alert, so no worker is needed.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from prefect.automations import AutomationCore, CallWebhook, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.schemas.objects import StateType

from tasks.events import FAILURE_TOLD, LOADED, RETIRED, TAG, WATCHED, name_label, scope_label
from tasks.streams import MEMBERS, STREAMS, Stream

POOL = "department-members"
FAILED = {"prefect.flow-run.Failed", "prefect.flow-run.TimedOut", "prefect.flow-run.Crashed"}
COMPLETED = "prefect.flow-run.Completed"
ENDED = {*FAILED, COMPLETED, "prefect.flow-run.Cancelled"}
STARTED = {"prefect.flow-run.Pending", "prefect.flow-run.Running"}
HEARTBEAT = "prefect.flow-run.heartbeat"
WITHOUT_ALERT = "department-members: a failure without an alert"
WITHOUT_HEARTBEATS = "department-members: a run without heartbeats"
PREVIOUS_NAMES = {
    WITHOUT_ALERT: "department-members: a failure that nobody was told of",
    WITHOUT_HEARTBEATS: "department-members: a run without a sign of life",
}
"""What an earlier version called an automation, so that an upgrade renames it instead of adding a second one."""


def label(name: str) -> str:
    """A template for a label of the event's resource, as JSON; an empty text where there is no such label."""
    # without a default, tojson fails on a label that is not there, and Prefect drops the call
    return f"{{{{ event.resource['{name}']|default('')|tojson }}}}"


RUN_FIELDS = {
    "flow": "{{ flow.name|tojson }}",
    "run": label("prefect.resource.name"),
    "run_id": label("prefect.resource.id"),
}
Labels = dict[str, str | list[str]]
OURS: Labels = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
RUN: Labels = {"prefect.resource.id": "prefect.flow-run.*"}
EACH = {"prefect.resource.id"}


@dataclass(frozen=True)
class WatchTimes:
    """How long the watch waits before it acts."""

    alert_not_sent: timedelta = timedelta(minutes=1)
    """For the run's own hook to send its alert; on a worker this takes some seconds."""
    lifeless: timedelta = timedelta(minutes=2)
    """For a run's next heartbeat: four of them, by tasks/task_options.py."""
    longest: timedelta = timedelta(hours=3)
    """For a run to end. An hour of it may be spent waiting for the account lock."""
    silence: timedelta = timedelta(hours=26)
    """For the next load: a day, and the time in which a late one may still end."""
    workerless: timedelta = timedelta(minutes=2)
    """For a work pool to get a worker again, after the 90 s that Prefect needs to notice; a restart raises no alert."""


def automations(times: WatchTimes, webhook: UUID, pool: str = POOL) -> list[AutomationCore]:
    """All of the watch; each waits for the absence of something, and acts once."""
    return [
        *about_runs(times, webhook),
        *(about_loads(times, webhook, stream) for stream in STREAMS.values()),
        AutomationCore(
            name="department-members: no worker",
            description="The work pool has no worker, so scheduled runs do not start.",
            trigger=absence(
                {"prefect.work-pool.not-ready"},
                {"prefect.work-pool.ready"},
                times.workerless,
                match={"prefect.resource.id": "prefect.work-pool.*", "prefect.resource.name": pool},
                related={},
            ),
            actions=[call(webhook, "workerless", pool=label("prefect.resource.name"))],
        ),
    ]


def about_loads(times: WatchTimes, webhook: UUID, stream: Stream) -> AutomationCore:
    """A scope of that stream that was loaded or is expected has not been loaded or retired since."""
    scope = scope_label(stream)
    return AutomationCore(
        name="department-members: no load" + ("" if stream is MEMBERS else f" of {stream.item_noun}"),
        description=f"A {stream.scope_noun} that was loaded or is expected has not been loaded or retired since.",
        trigger=absence(
            {LOADED, WATCHED},
            {LOADED, RETIRED},
            times.silence,
            match={"prefect.resource.id": "department-members.table.*", scope: "*"},
            each={*EACH, scope},
        ),
        actions=[
            call(
                webhook,
                "silent",
                table=label("prefect.resource.name"),
                department=label(scope),
                name=label(name_label(stream)),
                scope=json.dumps(stream.scope_noun),
                hours=hours_json(times.silence),
            )
        ],
    )


def about_runs(times: WatchTimes, webhook: UUID) -> list[AutomationCore]:
    """Runs that failed without an alert, whose process is gone, or that do not end."""
    return [
        AutomationCore(
            name=WITHOUT_ALERT,
            description="A run failed or crashed, and its own hook did not confirm an alert: either no hook ran (a "
            "killed worker, code that cannot be imported), or the hook could not publish.",
            trigger=absence(FAILED, {FAILURE_TOLD, COMPLETED}, times.alert_not_sent, match=RUN),
            actions=[call(webhook, "untold", **RUN_FIELDS, state=label("prefect.state-name"))],
        ),
        AutomationCore(
            name=WITHOUT_HEARTBEATS,
            description="A run's heartbeats stopped before the run ended: its process or worker is gone. It is marked "
            "Crashed, which frees its concurrency slots, and an alert is sent as for any crash.",
            trigger=absence({HEARTBEAT}, {HEARTBEAT, *ENDED}, times.lifeless, match=RUN),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    force=False,
                    name="Crashed",
                    message=f"No heartbeat for {times.lifeless.total_seconds():.0f} s: the process or its worker is "
                    "gone. Uncommitted work was rolled back.",
                )
            ],
        ),
        AutomationCore(
            name="department-members: a run that takes too long",
            description="A run has been running for too long. It is not stopped.",
            trigger=absence(STARTED, ENDED, times.longest, match=RUN),
            actions=[call(webhook, "stuck", **RUN_FIELDS, hours=hours_json(times.longest))],
        ),
    ]


def absence(
    after: set[str],
    expect: set[str],
    within: timedelta,
    *,
    match: Labels,
    each: set[str] = EACH,
    related: Labels = OURS,
) -> EventTrigger:
    """A trigger that fires once if, for one resource, no event of `expect` follows one of `after` in time."""
    return EventTrigger(
        after=after,
        expect=expect,
        within=within,
        match=match,
        match_related=related,
        for_each=each,
        posture=Posture.Proactive,
    )


def hours_json(time: timedelta) -> str:
    """Hours, as JSON."""
    return json.dumps(round(time.total_seconds() / 3600, 2))


def call(webhook: UUID, alert: str, **fields: str) -> CallWebhook:
    """Call the webhook service. `fields` are templates that render to JSON; `since` is added to each call."""
    fields = {"alert": json.dumps(alert), "since": "{{ event.occurred.isoformat()|tojson }}", **fields}
    payload = ", ".join(f"{json.dumps(name)}: {template}" for name, template in fields.items())
    return CallWebhook(block_document_id=webhook, payload=f"{{{payload}}}")
