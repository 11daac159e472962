"""Time extract, load and the whole beside their references: `python -m benchmarks [--members 10000,100000] [--runs 3]`.

Every figure is the median of some runs, each in a process of its own; machines differ, so compare
the ratios. Memory is the peak of that process alone.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sandbox.aws import SimulatedAws
from sandbox.postgres import DATABASE, PASSWORD, USER, Postgres
from sandbox.stack import INHERITED, ROOT
from tasks.database import quoted

TABLE = "department_members"


@dataclass(frozen=True)
class Figure:
    """Medians of one step at one size."""

    seconds: float
    peak_mb: float


class Bench:
    """The servers of one size, and what was measured on them."""

    def __init__(self, members: int, runs: int, aws: SimulatedAws, postgres: Postgres, folder: Path) -> None:
        self.members, self.runs = members, runs
        self.aws, self.postgres, self.folder = aws, postgres, folder
        self.environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            **aws.environment(),
            **postgres.environment(),
            "S3_DEPARTMENT_MEMBERS_PATH": "members.csv",
            "PREFECT_HOME": str(folder / "prefect"),
        }

    def measure(self, step: str, *arguments: str, fresh: bool = False) -> Figure:
        """The medians of a step of `benchmarks.steps`; `fresh` empties the database before each run."""
        results = []
        for _ in range(self.runs):
            if fresh:
                self.drop()
            results.append(self.step(step, *arguments))
        return Figure(*(statistics.median(result[name] for result in results) for name in ("seconds", "peak_mb")))

    def step(self, name: str, *arguments: str) -> dict[str, float]:
        """One run of a step."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.steps", name, *arguments],
            env=self.environment, cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result

    def drop(self) -> None:
        """An empty database."""
        self.psql("DROP TABLE IF EXISTS department_members, lms_loads, reference")

    def psql(self, script: str) -> float:
        """Seconds that psql takes for a script."""
        began = time.perf_counter()
        command = [str(self.postgres.bin / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.postgres.port), "-U", USER, "-d", DATABASE]
        environment = {
            **self.environment,
            "PGPASSWORD": PASSWORD,
            "LD_LIBRARY_PATH": str(self.postgres.bin.parent / "lib"),
        }
        subprocess.run(command, input=script, env=environment, text=True, check=True, capture_output=True)
        return time.perf_counter() - began

    def reference_load(self, csv: Path) -> float:
        """psql's own COPY into a text staging table and one upsert, into an empty table like ours."""
        seconds = []
        names = csv.open(encoding="utf-8").readline().strip().replace('"', "").split(",")
        for _ in range(self.runs):
            self.psql(f"DROP TABLE IF EXISTS reference; CREATE TABLE reference (LIKE {TABLE} INCLUDING ALL)")
            types = self.types()
            columns = ", ".join(map(quoted, names))
            seconds.append(
                self.psql(
                    f"CREATE TEMP TABLE staging ({', '.join(f'{quoted(name)} text' for name in names)});\n"
                    f"\\copy staging from '{csv}' (format csv, header)\n"
                    f"INSERT INTO reference ({columns}) SELECT {', '.join(f'{quoted(n)}::{types[n]}' for n in names)}"
                    " FROM staging ON CONFLICT (lms_user_id) DO UPDATE SET "
                    + ", ".join(f"{quoted(name)} = EXCLUDED.{quoted(name)}" for name in names[1:])
                )
            )
        return statistics.median(seconds)

    def types(self) -> dict[str, str]:
        """Column to type of the members' table."""
        connection = self.postgres.connect()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0",
                (TABLE,),
            )
            found = dict(cursor.fetchall())
        connection.close()
        return found

    def run(self) -> list[str]:
        """Measure this size; rows of the table."""
        with subprocess.Popen(
            [sys.executable, "-m", "sandbox.lms", "--members", str(self.members)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
        ) as lms:  # fmt: skip
            assert lms.stdout is not None
            assert lms.stdin is not None
            self.environment |= json.loads(lms.stdout.readline())
            try:
                return self.rows()
            finally:
                lms.stdin.close()

    def rows(self) -> list[str]:
        """Each step beside its reference."""
        thrown = self.measure("throw_away", str(self.members))
        extract = self.measure("extract")
        csv = self.folder / "members.csv"
        csv.write_bytes(self.aws.objects()["members.csv"])
        load = self.measure("load", str(csv), str(self.members), fresh=True)
        unchanged = self.measure("load", str(csv), str(self.members))
        reference = self.reference_load(csv)
        empty = self.measure("nothing")
        sync = self.measure("sync", fresh=True)
        own = sync.seconds - empty.seconds
        size = csv.stat().st_size / 1e6
        return [
            self.row("pages fetched and thrown away", thrown, ""),
            self.row("extract", extract, f"{extract.seconds - thrown.seconds:+.2f} s"),
            self.row("psql: COPY and upsert", Figure(reference, 0), f"{size:.0f} MB of CSV"),
            self.row("load, all new", load, f"x {load.seconds / reference:.2f}"),
            self.row("load, nothing changed", unchanged, f"x {unchanged.seconds / reference:.2f}"),
            self.row("an empty flow as a script", empty, ""),
            self.row("department_sync as a script", sync, f"{own:+.2f} s, {sync.peak_mb - empty.peak_mb:+.0f} MB"),
        ]

    def row(self, what: str, figure: Figure, beside: str) -> str:
        """One line of the table."""
        rate = f"{self.members / figure.seconds:,.0f}"
        peak = f"{figure.peak_mb:.0f}" if figure.peak_mb else ""
        return f"| {self.members:,} | {what} | {figure.seconds:.2f} | {rate} | {peak} | {beside} |"


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", default="10000,100000", help="sizes, with commas")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    versions = f"Python {platform.python_version()}, prefect {version('prefect')}"
    say(f"{platform.machine()}, {os.cpu_count()} cores, {versions}")
    say("| members | what | seconds | members/s | peak MB | beside its reference |")
    say("|---|---|---|---|---|---|")
    with SimulatedAws(versioning=False) as aws, Postgres(18) as postgres, tempfile.TemporaryDirectory() as folder:
        for members in options.members.split(","):
            for row in Bench(int(members), options.runs, aws, postgres, Path(folder)).run():
                say(row)
            aws.reset()


def say(line: str) -> None:
    """One line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
