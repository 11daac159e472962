"""The automations of the watch: what Prefect's server looks out for, and what it does then.

They tell of what no run can tell of itself: runs that crashed, that hang, that did not happen, and a work pool
without workers. The server calls the webhook service, and that publishes, so no worker is needed for it.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from prefect.automations import AutomationCore, CallWebhook, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.schemas.objects import StateType

from tasks.events import FAILURE_TOLD, LOADED, RETIRED, TAG, WATCHED, scope_label
from tasks.streams import MEMBERS, STREAMS, Stream

POOL = "department-members"
FAILED = {"prefect.flow-run.Failed", "prefect.flow-run.TimedOut", "prefect.flow-run.Crashed"}
COMPLETED = "prefect.flow-run.Completed"
ENDED = {*FAILED, COMPLETED, "prefect.flow-run.Cancelled"}
STARTED = {"prefect.flow-run.Pending", "prefect.flow-run.Running"}
HEARTBEAT = "prefect.flow-run.heartbeat"


def label(name: str) -> str:
    """A template for a label of the event's resource, as JSON."""
    return f"{{{{ event.resource['{name}']|tojson }}}}"


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

    untold: timedelta = timedelta(minutes=1)
    """For the run's own hook to tell of the failure; a worker's takes some seconds."""
    lifeless: timedelta = timedelta(minutes=2)
    """For a run's next heartbeat: four of them, by tasks/task_options.py."""
    longest: timedelta = timedelta(hours=3)
    """For a run to end. An hour of it may be spent waiting for the account lock."""
    silence: timedelta = timedelta(hours=26)
    """For the next load: a day, and the time in which a late one may still end."""
    workerless: timedelta = timedelta(minutes=2)
    """For a work pool to have a worker again, after the 90 s in which Prefect misses it: a restart is no incident."""


def automations(times: WatchTimes, webhook: UUID, pool: str = POOL) -> list[AutomationCore]:
    """All of the watch; each waits for the absence of something, and acts once."""
    return [
        *about_runs(times, webhook),
        *(about_loads(times, webhook, stream) for stream in STREAMS.values()),
        AutomationCore(
            name="department-members: no worker",
            description="The work pool has no worker: nothing scheduled will run.",
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
    """A scope of that stream was loaded, or put under watch, and neither loaded nor retired since."""
    scope = scope_label(stream)
    return AutomationCore(
        name="department-members: no load" + ("" if stream is MEMBERS else f" of {stream.items}"),
        description=f"A {stream.scope} was loaded, or put under watch, and neither loaded nor retired since.",
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
                scope=json.dumps(stream.scope),
                hours=hours(times.silence),
            )
        ],
    )


def about_runs(times: WatchTimes, webhook: UUID) -> list[AutomationCore]:
    """Runs that ended untold of, whose process is gone, or that do not end."""
    return [
        AutomationCore(
            name="department-members: a failure that nobody was told of",
            description="A run failed or crashed, and its own hook has not said that it published: crashes without "
            "a hook (a killed worker, code that cannot be imported), and hooks that could not publish.",
            trigger=absence(FAILED, {FAILURE_TOLD, COMPLETED}, times.untold, match=RUN),
            actions=[call(webhook, "untold", **RUN_FIELDS, state=label("prefect.state-name"))],
        ),
        AutomationCore(
            name="department-members: a run without a sign of life",
            description="A run's heartbeats ended before it did: its process or worker is gone. It becomes Crashed, "
            "so its places in concurrency limits are free, and the watch tells of it as of any crash.",
            trigger=absence({HEARTBEAT}, {HEARTBEAT, *ENDED}, times.lifeless, match=RUN),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    force=False,
                    name="Crashed",
                    message=f"No sign of life for {times.lifeless.total_seconds():.0f} s: the process or its "
                    "worker is gone. What was not committed is undone.",
                )
            ],
        ),
        AutomationCore(
            name="department-members: a run that takes too long",
            description="A run started, lives, and has not ended. It is left alone.",
            trigger=absence(STARTED, ENDED, times.longest, match=RUN),
            actions=[call(webhook, "stuck", **RUN_FIELDS, hours=hours(times.longest))],
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
    """What fires once where, for one resource, none of `expect` follows one of `after` in time."""
    return EventTrigger(
        after=after,
        expect=expect,
        within=within,
        match=match,
        match_related=related,
        for_each=each,
        posture=Posture.Proactive,
    )


def hours(time: timedelta) -> str:
    """Hours, as JSON."""
    return json.dumps(round(time.total_seconds() / 3600, 2))


def call(webhook: UUID, alert: str, **fields: str) -> CallWebhook:
    """Tell the webhook service. `fields` are templates whose outcome is JSON; since when comes with each."""
    fields = {"alert": json.dumps(alert), "since": "{{ event.occurred.isoformat()|tojson }}", **fields}
    payload = ", ".join(f"{json.dumps(name)}: {template}" for name, template in fields.items())
    return CallWebhook(block_document_id=webhook, payload=f"{{{payload}}}")
