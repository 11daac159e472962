"""What an empty Prefect flow costs: as a script that starts Prefect, with a running server, and under a worker."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from sandbox.prefect_server import PrefectServer, must
from sandbox.stack import INHERITED, ROOT

RUN = ("deployment", "run", "empty/floor", "--watch", "--watch-interval", "1")


def measure_floor(runs: int) -> dict[str, float]:
    """How the flow was run, and the seconds from the command to its end."""
    with tempfile.TemporaryDirectory() as home:
        own = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "PREFECT_HOME": home,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        found = {"a script that starts Prefect, on a machine where it never ran": median(lambda: script(own), 1)}
        found["a script that starts Prefect"] = median(lambda: script(own), runs)
        with PrefectServer(own) as server:

            def prefect(*arguments: str) -> None:
                must(server.command(*arguments))

            found["a script with a running server"] = median(lambda: script(server.environment), runs)
            prefect("work-pool", "create", "floor", "--type", "process")
            prefect("--no-prompt", "deploy", "benchmarks/empty.py:empty", "-n", "floor", "-p", "floor")
            server.start_worker("floor")
            prefect(*RUN)
            found["under a worker that asks every second, by `prefect deployment run --watch`"] = median(
                lambda: prefect(*RUN), runs
            )
    return found


def script(environment: dict[str, str]) -> None:
    """Run an empty flow, with this project's imports."""
    command = [sys.executable, "benchmarks/empty.py"]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)


def median(act: Callable[[], object], runs: int) -> float:
    """The median of the seconds that `runs` runs take."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
