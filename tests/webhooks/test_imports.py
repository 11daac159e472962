"""The service is small: it loads neither tables nor drivers."""

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.stack import ROOT

HEAVY = {"numpy", "pandas", "psycopg2", "pyarrow"}


@pytest.mark.parametrize("path", sorted((ROOT / "webhooks").glob("*.py")), ids=lambda path: path.stem)
def test_no_module_loads_pandas_pyarrow_or_a_database_driver(path: Path) -> None:
    script = f"import sys, webhooks.{path.stem}; print(sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
