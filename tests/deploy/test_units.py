"""The units of systemd: what each may do to its machine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.stack import ROOT

UNITS = sorted((ROOT / "deploy").glob("*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_its_exposure_is_low(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    [level] = re.findall(r"Overall exposure level for .*: ([0-9.]+)", report)
    assert float(level) < 4


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_writes_nowhere_but_into_its_own_state(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    settings = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z]\w+=", line))
    assert (settings["ProtectSystem"], settings["ProtectHome"], settings["PrivateTmp"]) == ("strict", "true", "true")
    assert settings["Environment"] == f"PREFECT_HOME=/var/lib/{settings['StateDirectory']}"
    assert settings["SystemCallErrorNumber"] == "EPERM", "a call that is denied must not end the process"
