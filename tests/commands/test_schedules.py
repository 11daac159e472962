"""`python -m commands.schedules`: what Prefect keeps though the file has it no more, and what it takes though it is wrong."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from commands import schedules


@flow(name="nightly-sync")
def nightly_sync(department_id: str | None = None) -> None:
    """A flow with one parameter."""


def scheduled(slug: str, **parameters: Any) -> DeploymentScheduleCreate:
    cron = CronSchedule(cron="0 2 * * *", timezone="Europe/London")
    return DeploymentScheduleCreate(schedule=cron, slug=slug, parameters=parameters)


@pytest.fixture
def run(prefect_api: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command, beside a deployment with three schedules; its exit code and lines."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(nightly_sync)
        client.create_deployment(
            flow_id,
            "nightly-sync",
            schedules=[scheduled("nightly"), scheduled("old"), scheduled("wrong", departement_id="x")],
            parameter_openapi_schema=nightly_sync.parameters.model_dump(),
        )
        address = str(client.api_url)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str, slugs: tuple[str, ...]) -> tuple[int, list[str]]:
        entries = [{"cron": "0 2 * * *", "slug": slug} for slug in slugs]
        deployments = [{"name": "nightly-sync", "schedules": entries}, {"name": "never-deployed"}]
        Path("prefect.yaml").write_text(yaml.safe_dump({"deployments": deployments}), encoding="utf-8")
        monkeypatch.setattr("sys.argv", ["schedules", *arguments])
        with temporary_settings({PREFECT_API_URL: address}):
            code = schedules.main()
        return code, [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    return command


def test_each_schedule_is_held_against_the_file_and_what_is_gone_is_removed(run: Any) -> None:
    code, lines = run(slugs=("nightly", "wrong", "new"))
    name = "nightly-sync"
    assert code == 1
    assert sorted(lines) == sorted([
        f"ok {name}: nightly: 0 2 * * *",
        f"EXTRA {name}: old: 0 2 * * *; not in prefect.yaml, but still scheduled",
        f"WRONG {name}: wrong: 0 2 * * *; the flow has no parameter departement_id",
        f"MISSING {name}: new: in prefect.yaml, but not scheduled; run prefect deploy --all",
        "MISSING never-deployed: -: is not deployed; run prefect deploy --all",
    ])  # fmt: skip
    _, lines = run("--remove", slugs=("nightly", "wrong"))
    assert f"removed {name}: old" in lines
    _, lines = run(slugs=("nightly", "wrong"))
    assert not any("EXTRA" in line for line in lines)


CRON = {"cron": "0 2 * * *", "timezone": "Europe/London"}
DIFFERENCES = {
    "another time": ({"cron": "0 5 * * 1"}, "cron"),
    "another zone": ({"timezone": "Asia/Hanoi"}, "timezone"),
    "paused by hand": ({"active": True}, ""),
    "other parameters": ({"parameters": {"department_id": "B"}}, "parameters"),
    "what a variable says": ({"cron": "{{ cron.stdout }}", "timezone": "{{ zone }}"}, ""),
}


@pytest.mark.parametrize(("change", "differs"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_schedule_of_the_same_slug_is_compared_with_the_file(change: dict[str, Any], differs: str) -> None:
    [entry] = [schedules.InFile.of({**CRON, "slug": "nightly", **change})]
    there = DeploymentSchedule(
        id=uuid4(),
        deployment_id=uuid4(),
        schedule=CronSchedule(cron=CRON["cron"], timezone=CRON["timezone"]),
        slug="nightly",
    )
    assert entry.is_same(there)
    assert ", ".join(entry.differences(there)) == differs


def test_what_is_deployed_and_not_in_the_file_is_named_and_so_is_a_schedule_without_a_slug(
    prefect_api: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two, three = (CronSchedule(cron=f"0 {hour} * * *", timezone="UTC") for hour in (2, 3))
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(nightly_sync)
        for name, found in {"kept": [two, three], "copied": [two]}.items():
            client.create_deployment(
                flow_id, name, entrypoint="flows/nightly.py:nightly_sync",
                schedules=[DeploymentScheduleCreate(schedule=each) for each in found],
            )  # fmt: skip
        address = str(client.api_url)
    entry = {"name": "kept", "entrypoint": "flows/nightly.py:nightly_sync", "schedules": [{"cron": "0 2 * * *"}]}
    monkeypatch.chdir(tmp_path)
    Path("prefect.yaml").write_text(yaml.safe_dump({"deployments": [entry]}), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["schedules"])
    with temporary_settings({PREFECT_API_URL: address}):
        assert schedules.main() == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "ok kept: -: 0 2 * * *" in lines
    assert "EXTRA kept: -: 0 3 * * *; not in prefect.yaml, but still scheduled" in lines
    assert "EXTRA copied: -: 0 2 * * *; the deployment is not in prefect.yaml, but still scheduled" in lines
