"""`python -m webhooks.watch`: the automations are put up once, and brought up to date."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.automations import AutomationCore
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.schemas.events import Event
from prefect.server.utilities.user_templates import render_user_template_sync

from blocks.environment import alert_topic_from, read_environment
from sandbox.aws import SimulatedAws
from tasks.errors import ConfigError
from tasks.streams import MEMBERS
from tasks.task_options import HEARTBEAT_S
from tests.webhooks.test_alerts import served
from webhooks.automations import PREVIOUS_NAMES, WatchTimes, automations
from webhooks.objects import SnapshotFilter
from webhooks.service import Settings, WatchSettings
from webhooks.watch import BLOCK, apply, delete_automations, expect_loads, main

URL, KEY = "http://127.0.0.1:9", "a key of some length"


@pytest.fixture(autouse=True)
def bare(prefect_api: None) -> Iterator[None]:
    yield
    delete_automations()


def there() -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        return {automation.name: automation for automation in client.read_automations()}


def test_what_is_put_up_is_there_once_and_a_second_time_changes_nothing() -> None:
    first = apply(URL, KEY, WatchTimes())
    before = there()
    again = apply(URL, KEY, WatchTimes())
    assert first[0] == again[0] == "saved: webhook/department-members-watch, with the service's address and key"
    assert {line.split(":")[0] for line in first[1:]} == {"created"}
    assert {line.split(":")[0] for line in again[1:]} == {"up to date"}
    assert there() == before
    assert len(before) == len(first) - 1 == 6


def test_another_patience_changes_that_automation_alone_and_keeps_its_id() -> None:
    apply(URL, KEY, WatchTimes())
    before = there()
    done = apply(URL, KEY, WatchTimes(silence=timedelta(hours=50)))
    silent = ["updated: department-members: no load", "updated: department-members: no load of enrollments"]
    assert [line for line in done if line.startswith("updated")] == silent
    after = there()["department-members: no load"]
    assert after.trigger.within == timedelta(hours=50)
    assert after.id == before["department-members: no load"].id


def test_an_automation_that_was_paused_stays_paused() -> None:
    apply(URL, KEY, WatchTimes())
    with get_client(sync_client=True) as client:
        client.pause_automation(there()["department-members: no load"].id)
    done = apply(URL, KEY, WatchTimes(silence=timedelta(hours=50)))
    assert "updated, but paused: department-members: no load" in done
    assert not there()["department-members: no load"].enabled


def test_a_copy_made_by_hand_is_removed() -> None:
    apply(URL, KEY, WatchTimes())
    with get_client(sync_client=True) as client:
        client.create_automation(AutomationCore.model_validate(there()["department-members: no load"].model_dump()))
        assert len(client.read_automations_by_name("department-members: no load")) == 2
        apply(URL, KEY, WatchTimes())
        assert len(client.read_automations_by_name("department-members: no load")) == 1


@pytest.mark.parametrize("name", PREVIOUS_NAMES)
def test_an_automation_with_its_previous_name_is_renamed_and_stays_paused(name: str) -> None:
    apply(URL, KEY, WatchTimes())
    before = there()
    with get_client(sync_client=True) as client:
        mine = before[name].model_dump(exclude={"owner_resource"})
        old = AutomationCore.model_validate({**mine, "name": PREVIOUS_NAMES[name], "enabled": False})
        client.update_automation(before[name].id, old)
        assert name not in there()
        assert f"updated, but paused: {name}" in apply(URL, KEY, WatchTimes())
    assert {each: there()[each].id for each in there()} == {each: before[each].id for each in before}


def test_an_automation_left_under_its_previous_name_is_removed() -> None:
    """As when an older version of the command ran after a newer one; also by `--remove`."""
    apply(URL, KEY, WatchTimes())
    before = set(there())
    for name, previous in PREVIOUS_NAMES.items():
        with get_client(sync_client=True) as client:
            client.create_automation(AutomationCore.model_validate({**there()[name].model_dump(), "name": previous}))
    assert set(there()) == before | set(PREVIOUS_NAMES.values())
    apply(URL, KEY, WatchTimes())
    assert set(there()) == before
    with get_client(sync_client=True) as client:
        name, previous = next(iter(PREVIOUS_NAMES.items()))
        client.create_automation(AutomationCore.model_validate({**there()[name].model_dump(), "name": previous}))
    delete_automations()
    assert there() == {}


def test_the_block_calls_the_service_with_its_key() -> None:
    apply(URL + "/", KEY, WatchTimes())
    block: Any = Webhook.load(BLOCK)
    assert block.url.get_secret_value() == f"{URL}/watch"
    assert block.headers.get_secret_value() == {"x-api-key": KEY}


def test_a_dead_runs_patience_spans_several_heartbeats() -> None:
    assert WatchTimes().lifeless.total_seconds() >= 3 * HEARTBEAT_S


def test_only_a_lifeless_run_is_changed_and_to_crashed() -> None:
    made = automations(WatchTimes(), webhook=uuid4())
    changes: list[Any] = [action for each in made for action in each.actions if action.type != "call-webhook"]
    assert [(action.type, action.state) for action in changes] == [("change-flow-run-state", StateType.CRASHED)]


@pytest.mark.parametrize("name", [{"department-members.department-name": 'Sales "EU"'}, {}])
def test_the_call_about_a_missing_load_has_the_name_that_the_event_has(name: dict[str, str]) -> None:
    made = automations(WatchTimes(), webhook=uuid4())
    [action] = [each.actions[0] for each in made if each.name == "department-members: no load"]
    resource = {"prefect.resource.id": "r", "prefect.resource.name": "public.m", "department-members.department": "d"}
    event = Event.model_validate({"occurred": "2026-03-01T02:00:00Z", "event": "e", "resource": {**resource, **name}})
    rendered = render_user_template_sync(action.payload, {"event": event})  # type: ignore[union-attr]
    assert json.loads(rendered)["name"] == name.get("department-members.department-name", "")


def test_the_command_says_what_it_did(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WATCH_API_KEY", KEY)
    monkeypatch.setenv("DEPARTMENT_ID", "5B0C9F5E-3D0A-4F0B-9A53-0A4F6A0C7D11")
    assert main(["--url", URL, "--silence-hours", "170"]) == 0
    told = capsys.readouterr().out
    assert told.count("created: department-members: ") == 6
    assert "loads of department 5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11 into public.department_members" in told
    assert there()["department-members: no load"].trigger.within == timedelta(hours=170)
    assert main(["--remove"]) == 0
    assert there() == {}


def test_a_department_that_is_gone_is_retired_by_one_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr("webhooks.watch.emit", lambda event, resource, **_: told.append((event, resource)))
    assert main(["--retire", "5B0C9F5E-3D0A-4F0B-9A53-0A4F6A0C7D11"]) == 0
    by_label = {name: value for _, resource in told for name, value in resource.items()}
    assert {event for event, _ in told} == {"department-members.retired"}
    assert by_label["department-members.department"] == by_label["department-members.course"]
    assert by_label["department-members.department"] == "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11"
    expecting = [core for core in automations(WatchTimes(), uuid4()) if "no load" in core.name]
    assert all("department-members.retired" in core.trigger.expect for core in expecting)  # type: ignore[union-attr]
    assert not any("department-members.retired" in core.trigger.after for core in expecting)  # type: ignore[union-attr]
    assert main(["--retire", "Sales"]) == 1
    assert "--retire takes a GUID" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "WEBHOOK_URL must be"),
        ({"WEBHOOK_URL": URL}, "WATCH_API_KEY must be"),
        ({"WEBHOOK_URL": "hooks.example.org", "WATCH_API_KEY": KEY}, "WEBHOOK_URL must be"),
    ],
)
def test_a_missing_setting_is_named_and_nothing_is_put_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: dict[str, str], problem: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 1
    assert problem in capsys.readouterr().err
    assert there() == {}


@pytest.mark.parametrize("key", [None, "another key of some length"])
def test_a_service_that_would_not_hear_the_watch_stops_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], aws: SimulatedAws, key: str | None
) -> None:
    topic = alert_topic_from(read_environment(), [])
    assert topic is not None
    monkeypatch.setenv("WATCH_API_KEY", KEY)
    settings = Settings(SnapshotFilter("b", ("",)), frozenset(), None, WatchSettings(key, topic) if key else None)
    for address in served(settings):
        assert main(["--url", address.removesuffix("/watch")]) == 1
    assert f"answered {401 if key else 404}: expected the webhook service" in capsys.readouterr().err
    assert there() == {}


def test_a_service_that_hears_the_watch_is_said_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], aws: SimulatedAws
) -> None:
    topic = alert_topic_from(read_environment(), [])
    assert topic is not None
    monkeypatch.setenv("WATCH_API_KEY", KEY)
    for address in served(Settings(SnapshotFilter("b", ("",)), frozenset(), None, WatchSettings(KEY, topic))):
        assert main(["--url", address.removesuffix("/watch")]) == 0
    assert "/watch accepts the watch's key" in capsys.readouterr().out
    assert aws.alerts() == []


@pytest.mark.parametrize("value", ["{5B0C9F5E-3D0A-4F0B-9A53-0A4F6A0C7D11}", "x, y", "5b0c9f5e"])
def test_no_load_is_expected_of_what_is_no_department(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    expected: list[Any] = []
    monkeypatch.setattr("webhooks.watch.emit", lambda *arguments, **_: expected.append(arguments))
    with pytest.raises(ConfigError, match="DEPARTMENT_ID must be a GUID"):
        expect_loads({"DEPARTMENT_ID": value}, MEMBERS)
    assert expected == []
    department = "5B0C9F5E-3D0A-4F0B-9A53-0A4F6A0C7D11"
    assert f"{department.lower()} into public.department_members" in expect_loads(
        {"DEPARTMENT_ID": department}, MEMBERS
    )
    assert len(expected) == 1
