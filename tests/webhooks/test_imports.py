"""The service is small: it loads neither tables nor drivers."""

import subprocess
import sys

from sandbox.stack import ROOT

HEAVY = {"numpy", "pandas", "psycopg2", "pyarrow"}


def test_no_module_loads_pandas_pyarrow_or_a_database_driver() -> None:
    modules = ", ".join(f"webhooks.{path.stem}" for path in sorted((ROOT / "webhooks").glob("*.py")))
    script = f"import sys, {modules}; print(sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
