"""Workers elsewhere: what the image holds is enough, and the ECS template is prefect-aws's with our values in it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from prefect_aws.workers.ecs_worker import ECSJobConfiguration

from deploy.ecs_job_template import job_template, main
from sandbox.stack import ROOT
from tasks.task_options import HEARTBEAT_S

pytestmark = pytest.mark.usefixtures("prefect_api")  # the template of a pool is read by a client
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
COPIED = re.findall(r"^COPY (\S+)", DOCKERFILE, re.MULTILINE)
# Only the image's own folder and the installed packages: neither the checkout nor its editable install.
ALONE = """
import sys, importlib
sys.meta_path = [each for each in sys.meta_path if "editable" not in repr(each).lower()]
sys.path = [sys.argv[1], *(each for each in sys.path if each not in ("", sys.argv[2]))]
for name in sys.argv[3:]:
    print(importlib.import_module(name).__file__)
"""
PROGRAMS = ["flows.lms_to_s3", "flows.s3_to_rds", "flows.department_sync", "webhooks.__main__", "webhooks.watch", "blocks.save", "tasks.check", "tasks.ledger"]  # fmt: skip
OURS = {"image": "i:1", "cluster": "c", "execution_role": "arn:e", "task_role": "arn:t", "region": "eu-west-1"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the Dockerfile copies."""
    folder = tmp_path_factory.mktemp("image")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def test_every_program_starts_from_what_the_image_holds(image: Path) -> None:
    child = [sys.executable, "-c", ALONE, str(image), str(ROOT), *PROGRAMS]
    done = subprocess.run(child, cwd=image, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{image}/{name.replace('.', '/')}.py" for name in PROGRAMS]


def test_the_image_leaves_out_what_is_not_copied_and_has_the_flows_beat_as_deployed() -> None:
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(COPIED)
    assert f"PREFECT_FLOWS_HEARTBEAT_FREQUENCY={HEARTBEAT_S}" in DOCKERFILE


def configured(**job_variables: Any) -> ECSJobConfiguration:
    template = job_template(**OURS)
    return anyio.run(lambda: ECSJobConfiguration.from_template_and_values(template, job_variables))


def test_a_run_on_ecs_has_our_image_roles_and_size() -> None:
    found = configured()
    assert (found.cluster, found.execution_role_arn) == ("c", "arn:e")
    assert found.task_run_request["overrides"]["taskRoleArn"] == "arn:t"
    assert (found.task_definition["family"], found.task_definition["memory"]) == ("department-members", 2048)
    [container] = found.task_definition["containerDefinitions"]
    assert container["image"] == "i:1"
    assert container["environment"] == [{"name": "AWS_DEFAULT_REGION", "value": "eu-west-1"}]


def test_a_deployment_may_have_a_role_of_its_own() -> None:
    found = configured(task_role_arn="arn:extract")
    assert found.task_run_request["overrides"]["taskRoleArn"] == "arn:extract"


def test_the_command_prints_the_template(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [text for name, value in OURS.items() for text in ("--" + name.replace("_", "-"), value)]
    monkeypatch.setattr(sys, "argv", ["ecs_job_template.py", *flags])
    assert main() == 0
    assert json.loads(capsys.readouterr().out) == job_template(**OURS)
