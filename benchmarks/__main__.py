"""Time extract, load and the whole beside their references, and write benchmarks/results.md.

    make bench ARGS="--members 10000,100000,1000000 --runs 3"

Every figure is the median of some runs (of one run beyond 100,000 members), each in a process of its
own; machines differ, so compare the ratios.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.enrollments import measure_enrollments
from benchmarks.floor import measure_floor
from benchmarks.organisation import measure_organisation
from benchmarks.report import write
from benchmarks.webhooks import measure_webhooks
from sandbox.aws import SimulatedAws
from sandbox.postgres import Postgres

SEVERAL_RUNS_UP_TO = 100_000


def main() -> None:
    """Measure each size; print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", default="10000,100000", help="sizes, with commas")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    sizes = sorted(int(size) for size in options.members.split(","))
    benches = []
    for members in sizes:
        runs = options.runs if members <= SEVERAL_RUNS_UP_TO else 1
        with SimulatedAws(versioning=False) as aws, Postgres(18) as postgres, tempfile.TemporaryDirectory() as folder:
            benches.append(Bench(members, runs, aws, postgres, Path(folder)))
            benches[-1].run()
    floor, enrollments, webhooks = measure_floor(options.runs), measure_enrollments(), measure_webhooks()
    sys.stdout.write(write(benches, floor, enrollments, webhooks, measure_organisation()))


if __name__ == "__main__":
    main()
