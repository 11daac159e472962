"""Prefect's own defaults, which are settings, change no task and no flow of ours."""

import json
import os
import subprocess
import sys

import pytest

from sandbox.stack import ROOT, Sandbox

OPTIONS = """
import importlib, json, pkgutil
from prefect import Flow, Task
import flows, tasks.extract, tasks.load
names = ("retries", "retry_delay_seconds", "persist_result", "log_prints", "timeout_seconds", "cache_expiration")
found = {}
for room in (flows, tasks, tasks.extract, tasks.load):
    for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, (Flow, Task)):
                options = {name: repr(getattr(value, name, None)) for name in names}
                found[value.name] = {**options, "cache": type(getattr(value, "cache_policy", None)).__name__}
print(json.dumps(found))
"""
DEFAULTS = {
    "PREFECT_TASKS_DEFAULT_RETRIES": "3",
    "PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS": "7",
    "PREFECT_FLOWS_DEFAULT_RETRIES": "2",
    "PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS": "9",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
    "PREFECT_TASKS_DEFAULT_PERSIST_RESULT": "true",
    "PREFECT_LOGGING_LOG_PRINTS": "true",
}


def options(settings: dict[str, str]) -> dict[str, dict[str, str]]:
    environment = {**{name: value for name, value in os.environ.items() if name not in DEFAULTS}, **settings}
    done = subprocess.run(
        [sys.executable, "-c", OPTIONS], cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)}, check=True,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_no_default_of_prefect_changes_a_task_or_a_flow() -> None:
    usual = options({})
    assert {"authenticate", "fetch-pages", "write-csv", "lms-to-s3", "s3-to-rds", "department-sync"} <= set(usual)
    assert options(DEFAULTS) == usual


@pytest.mark.slow
def test_a_wrong_password_is_tried_once_whatever_prefects_defaults(clean: Sandbox) -> None:
    clean.lms.password = "another"
    assert clean.run("flows/lms_to_s3.py", env=DEFAULTS).returncode == 1
    assert [path for _, path, _, _ in clean.lms.requests] == ["/authenticate"]
    assert len(clean.aws.alerts()) == 1
