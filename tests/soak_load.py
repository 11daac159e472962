"""Random tables and snapshots, each load judged by an oracle of its own; the long form of the property test.

python -m tests.soak_load --minutes 20 --seed 7
python -m tests.soak_load --case 123456789 --version 16
"""

import argparse
import logging
import random
import sys

from tests.support.load.case import random_case
from tests.support.load.soak import Report, play, soak, stage


def main() -> int:
    """Play cases; 1 where any has a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak_load", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--version", type=int, choices=[16, 18], help="only this version of PostgreSQL")
    parser.add_argument("--kinds", type=int, default=1, help="stop after that many kinds of fault")
    parser.add_argument("--case", type=int, help="play the one case of that seed")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    versions = (options.version,) if options.version else (18, 16)
    if options.case is not None:
        report = one(options.case, versions[0])
    else:
        sys.stdout.write(f"seed {options.seed}\n")
        report = soak(options.seed, options.minutes * 60, versions, most_kinds=options.kinds)
    sys.stdout.write(f"{report}\n")
    return 1 if report.kinds else 0


def one(seed: int, version: int) -> Report:
    """The case of that seed, alone."""
    report = Report()
    with stage(version) as place:
        play(place, random_case(seed), report)
    return report


if __name__ == "__main__":
    raise SystemExit(main())
