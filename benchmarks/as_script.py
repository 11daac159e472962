"""Runs a script as Python would, and prints its peak memory: `python -m benchmarks.as_script FILE ARGUMENTS`."""

import json
import re
import resource
import runpy
import sys
from pathlib import Path


def peak_mb() -> float:
    """The most memory that this process had; getrusage would include its parent's, from before the exec."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) / 1024


if __name__ == "__main__":
    del sys.argv[0]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        sys.stdout.write("\n" + json.dumps({"peak_mb": peak_mb()}) + "\n")
