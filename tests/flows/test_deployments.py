"""prefect.yaml: what Prefect takes without a word, wrong though it be, is caught here; tests/server runs it."""

import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.events import DeploymentEventTrigger

from sandbox.prefect_server import ROOT, PrefectServer
from tasks.events import TAG
from tasks.task_options import HEARTBEAT_S

DEPLOYED = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS = {deployment["name"]: deployment for deployment in DEPLOYED["deployments"]}
KNOWN_KEYS = {
    "name",
    "entrypoint",
    "description",
    "tags",
    "parameters",
    "work_pool",
    "concurrency_limit",
    "schedules",
    "triggers",
}


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    path, name = deployment["entrypoint"].split(":")
    found = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(found, Flow)
    return found


def test_the_flows_are_deployed_under_their_own_names() -> None:
    assert {name: flow_of(deployment).name for name, deployment in DEPLOYMENTS.items()} == {
        name: name for name in ("lms-to-s3", "course-to-s3", "s3-to-rds", "department-sync", "course-sync")
    }


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_prefects_form_explains_each_parameter_and_has_its_default(name: str) -> None:
    found = flow_of(DEPLOYMENTS[name])
    for parameter, field in found.parameters.properties.items():
        assert field["title"] == parameter
        assert field["description"].endswith(".")
        assert "default" in field
    assert found.parameters.required == []


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_no_key_is_misspelt_and_every_parameter_exists(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    assert set(deployment) <= KNOWN_KEYS
    assert set(deployment["parameters"]) <= set(inspect.signature(flow_of(deployment).fn).parameters)
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_every_run_says_that_it_lives_as_often_as_the_watch_expects() -> None:
    beats = [
        each["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] for each in DEPLOYMENTS.values()
    ]
    assert beats == [str(HEARTBEAT_S)] * 5
    assert all(TAG in deployment["tags"] for deployment in DEPLOYMENTS.values())


def test_the_schedule_has_no_misspelt_key() -> None:
    for name in ("lms-to-s3", "course-to-s3"):
        [schedule] = DEPLOYMENTS[name]["schedules"]
        assert set(schedule) <= {"cron", "timezone", "slug", "active", "parameters"}


def test_the_trigger_has_no_misspelt_key_and_sets_parameters_that_exist() -> None:
    [trigger] = DEPLOYMENTS["s3-to-rds"]["triggers"]
    parsed = DeploymentEventTrigger.model_validate(trigger)
    assert set(trigger) - {"type", "parameters"} <= set(DeploymentEventTrigger.model_fields)
    assert parsed.expect == {"s3.object.created"}
    assert set(trigger["parameters"]) <= set(inspect.signature(flow_of(DEPLOYMENTS["s3-to-rds"]).fn).parameters)


def test_every_step_is_prefects_and_every_value_comes_from_a_step_that_is_there() -> None:
    steps = [*DEPLOYED["build"], *DEPLOYED["pull"]]
    ids = {options["id"] for step in steps for options in step.values() if "id" in options}
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"{{ (\w+)\.stdout }}", text)) <= ids
    for step in steps:
        [(name, options)] = step.items()
        module, _, function = name.rpartition(".")
        accepted = inspect.signature(getattr(importlib.import_module(module), function)).parameters
        assert set(options) - {"id"} <= set(accepted)


@pytest.mark.parametrize(
    ("shell", "file", "expected"),
    [({}, "", "by default"), ({}, "A='in the file'", "in the file"), ({"A": "in $HOME"}, "A=x", "in $HOME"), ({"A": ""}, "A='$B'", "$B")],
)  # fmt: skip
def test_a_setting_comes_from_the_shell_else_from_the_env_file_else_by_default(
    tmp_path: Path, shell: dict[str, str], file: str, expected: str
) -> None:
    (tmp_path / ".env").write_text(file)
    done = subprocess.run(
        [sys.executable, ROOT / "deploy" / "setting.py", "A", "by default"],
        cwd=tmp_path, env=shell, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == expected + "\n"


SOURCES = {
    "checkout": ({}, "{checkout}"),
    "image": ({"SOURCE_FOLDER": "{folder}"}, "{folder}"),
    "repository": ({"SOURCE_REPOSITORY": "file://{repository}", "SOURCE_REF": "v1"}, "{work}/source"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_pull_step_works_from_a_checkout_a_repository_and_an_image(tmp_path: Path, kind: str) -> None:
    places = {name: str(tmp_path / f"a {name}") for name in ("checkout", "folder", "repository", "work")}
    for place in places.values():
        Path(place).mkdir()
    git = ["git", "-C", places["repository"], "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    environment, expected = SOURCES[kind]
    [options] = DEPLOYED["pull"][0].values()
    command = shlex.split(options["script"].replace("{{ checkout.stdout }}", places["checkout"]))
    env = {"PATH": os.environ["PATH"], **{name: value.format(**places) for name, value in environment.items()}}
    done = subprocess.run(command, cwd=places["work"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected.format(**places)


@pytest.mark.slow
def test_the_block_types_can_be_registered(server: PrefectServer) -> None:
    registered = server.command("block", "register", "-m", "blocks")
    assert registered.returncode == 0, registered.stdout
    assert all(name in registered.stdout for name in ("LMS Account", "Alert Topic"))
