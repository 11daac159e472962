"""The calls that the watch makes to the service, and the alert for each of them."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from prefect.utilities.urls import url_for
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, TypeAdapter, computed_field

from tasks.text import harmless, subject_line, without_user

TEXTS = {
    "Crashed": (
        "{flow} crashed",
        "Expected the run to finish; found that it was ended from outside: its process or worker was killed or "
        "stopped, or its code could not be started. Uncommitted work was rolled back. Read the run's last state "
        "message, fix the cause, and run it again.",
    ),
    "AlertNotSent": (
        "{flow} failed, and its own alert was not sent",
        "Expected the run to send its own alert; found none. The run's log says why the run failed and why the alert "
        "could not be sent.",
    ),
    "Stuck": (
        "{flow} has not ended after {hours:g} hours",
        "Expected the run to end within {hours:g} hours; found it still running or waiting. It was not stopped. Its "
        "log says what it is waiting for; if it is stuck, cancel it in the UI: uncommitted work is rolled back.",
    ),
    "NoLoad": (
        "no load into {table} for {hours:g} hours",
        "Expected a load of {scope} {shown} into {table} every {hours:g} hours; found none since {since}. Look "
        "at the last runs of its extract and of s3-to-rds: did one fail, was none scheduled, or did the S3 event not "
        "arrive?",
    ),
    "NoWorker": (
        "work pool {pool} has no worker",
        "Expected a worker for the work pool {pool}; found none since {since}. Scheduled runs do not start. Start a "
        "worker; late runs then start automatically.",
    ),
}
"""Subject and text of each alert, by its page in the runbook."""


def in_utc(moment: datetime) -> datetime:
    """
    >>> in_utc(datetime.fromisoformat("2026-03-01T02:00:00+02:00")).hour
    0
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time that can be written in UTC") from None


Moment = Annotated[datetime, AfterValidator(in_utc)]


class RunAlert(BaseModel):
    """About a run. `run_id` is a UUID, or the id of the run's resource."""

    # these words are in the automations saved in Prefect: accept the old one too if one is renamed
    alert: Literal["untold", "stuck"]
    since: Moment
    flow: str
    run: str
    run_id: Annotated[UUID, BeforeValidator(lambda value: str(value).removeprefix("prefect.flow-run."))]
    state: str = ""
    hours: float = 0

    @property
    def runbook_page(self) -> str:
        """The alert's name in TEXTS and in the runbook."""
        return "Stuck" if self.alert == "stuck" else "Crashed" if self.state == "Crashed" else "AlertNotSent"

    @property
    def where(self) -> list[str]:
        """What to look at."""
        url = without_user(url_for("flow-run", self.run_id) or "")
        return [
            f"Flow: {harmless(self.flow)}",
            f"Run:  {harmless(self.run)} ({self.run_id})",
            *([f"Look: {url}"] if url else []),
        ]


class LoadAlert(BaseModel):
    """About a department, or another scope, that was not loaded."""

    alert: Literal["silent"]
    since: Moment
    table: str
    department: str
    name: str = ""
    """The department's name, where the last load knew it."""
    scope: str = "department"
    """What `department` is the id of."""
    hours: float
    runbook_page: Literal["NoLoad"] = "NoLoad"

    @computed_field
    def shown(self) -> str:
        """The department's name and id."""
        return f"{self.name} ({self.department})" if self.name else self.department

    @property
    def where(self) -> list[str]:
        """What to look at."""
        return [f"Table: {harmless(self.table)}", f"{harmless(self.scope).capitalize()}: {harmless(str(self.shown))}"]


class PoolAlert(BaseModel):
    """About a work pool."""

    alert: Literal["workerless"]
    since: Moment
    pool: str
    runbook_page: Literal["NoWorker"] = "NoWorker"

    @property
    def where(self) -> list[str]:
        """What to look at."""
        return [f"Work pool: {harmless(self.pool)}"]


Alert = RunAlert | LoadAlert | PoolAlert
ALERT: TypeAdapter[Alert] = TypeAdapter(Annotated[Alert, Field(discriminator="alert")])


def message(alert: Alert) -> tuple[str, str]:
    """Subject and body."""
    since = alert.since.strftime("%Y-%m-%d %H:%M:%S UTC")
    subject, text = (part.format(**{**alert.model_dump(), "since": since}) for part in TEXTS[alert.runbook_page])
    lines = [*alert.where, f"Since: {since}", "", harmless(text), "", f"Help: docs/runbook/{alert.runbook_page}.md"]
    return subject_line(subject), "\n".join(lines)
