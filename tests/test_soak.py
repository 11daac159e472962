"""Half a minute of the randomised end-to-end test; `make soak MINUTES=n` runs it for as long as asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.stack import ROOT


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_table_equals_the_model_after_every_random_step(tmp_path: Path) -> None:
    # the same steps each time; make soak takes new ones
    command = [sys.executable, "-m", "tests.soak", "--minutes", "0.5", "--seed", "1"]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "steps held" in done.stdout
