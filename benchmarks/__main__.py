"""Time the extract, the load and the whole run against their references, and write benchmarks/results.md.

    make bench ARGS="--members 3000,10000,100000,1000000 --rounds 3"

Everything is measured once in each of some rounds (one beyond 100,000 members), each time in a process of its own.
Machines differ, so compare the ratios.
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
from benchmarks.s3_server import RcloneS3
from benchmarks.webhooks import measure_webhooks
from sandbox.aws import SimulatedAws
from sandbox.postgres import Postgres

SEVERAL_ROUNDS_UP_TO = 100_000


def main() -> None:
    """Measure each size; print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", default="3000,10000,100000", help="sizes, with commas")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sizes = sorted(int(size) for size in options.members.split(","))
    benches = []
    for members in sizes:
        rounds = options.rounds if members <= SEVERAL_ROUNDS_UP_TO else 1
        with (
            SimulatedAws() as aws,
            RcloneS3() as s3,
            Postgres(18) as postgres,
            tempfile.TemporaryDirectory() as folder,
        ):
            benches.append(Bench(members, rounds, s3, aws.environment(), postgres, Path(folder)))
            benches[-1].run()
    floor, enrollments, webhooks = measure_floor(options.rounds), measure_enrollments(), measure_webhooks()
    sys.stdout.write(write(benches, floor, enrollments, webhooks, measure_organisation()))


if __name__ == "__main__":
    main()
