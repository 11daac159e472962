"""prefect.yaml: what it says is true, and a real server and worker run it."""

import importlib
import inspect
import time
from typing import Any

import pytest
import requests
import yaml
from prefect import Flow
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from sandbox.prefect_server import ROOT, PrefectServer
from sandbox.stack import Sandbox

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


def test_the_three_flows_are_deployed_under_their_own_names() -> None:
    assert {name: flow_of(deployment).name for name, deployment in DEPLOYMENTS.items()} == {
        name: name for name in ("lms-to-s3", "s3-to-rds", "department-sync")
    }


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_no_key_is_misspelt_and_every_parameter_exists(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    assert set(deployment) <= KNOWN_KEYS
    assert set(deployment["parameters"]) <= set(inspect.signature(flow_of(deployment).fn).parameters)
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_the_extract_runs_each_night_at_two_in_a_named_time_zone() -> None:
    [schedule] = DEPLOYMENTS["lms-to-s3"]["schedules"]
    assert (schedule["cron"], "/" in schedule["timezone"]) == ("0 2 * * *", True)
    assert set(schedule) <= {"cron", "timezone", "slug", "active", "parameters"}


@pytest.mark.slow
def test_the_block_types_can_be_registered(server: PrefectServer) -> None:
    registered = server.command("block", "register", "-m", "blocks")
    assert registered.returncode == 0, registered.stdout
    assert all(name in registered.stdout for name in ("LMS Account", "Alert Topic"))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_fresh_server_takes_all_deployments_and_a_worker_runs_each(clean: Sandbox, server: PrefectServer) -> None:
    box = clean
    box.lms.add_people(30)
    created = server.command("work-pool", "create", "department-members", "--type", "process")
    assert created.returncode == 0, created.stdout
    deployed = server.command("--no-prompt", "deploy", "--all")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    worker = server.start_worker("department-members")

    run(server, "lms-to-s3", {})
    run(server, "s3-to-rds", {"create_table": True})
    assert box.query("SELECT count(*) FROM department_members") == [(30,)]
    box.lms.add_people(5)
    run(server, "department-sync", {})
    assert box.query("SELECT count(*) FROM department_members") == [(35,)]
    box.lms.password = "changed"
    run(server, "department-sync", {}, ends_in="FAILED")
    for _ in range(100):  # the hook runs after the state is set
        if box.aws.alerts():
            break
        time.sleep(0.2)
    [alert] = box.aws.alerts()
    assert f"{server.port}/runs/flow-run/" in alert["Message"]
    worker.terminate()
    worker.wait(30)


def run(server: PrefectServer, name: str, parameters: dict[str, Any], ends_in: str = "COMPLETED") -> None:
    """Start a deployment as the UI does, and wait for its end."""
    deployment = api(server, f"/deployments/name/{name}/{name}")
    started = api(server, f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
    for _ in range(240):
        state = api(server, f"/flow_runs/{started['id']}")["state"]
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            assert state["type"] == ends_in, state["message"]
            return
        time.sleep(0.5)
    raise TimeoutError(f"{name} did not end: {state}")


def api(server: PrefectServer, path: str, content: dict[str, Any] | None = None) -> Any:
    patience = Retry(
        10, backoff_factor=0.2, status_forcelist=[503], allowed_methods=None
    )  # SQLite, locked for a moment
    with requests.Session() as http:
        http.mount("http://", HTTPAdapter(max_retries=patience))
        answer = http.request("GET" if content is None else "POST", server.url + path, json=content, timeout=20)
        answer.raise_for_status()
        return answer.json()
