"""The measurements of one size: ours and their references, each run a process of its own, medians of several."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from sandbox.aws import SimulatedAws
from sandbox.postgres import DATABASE, PASSWORD, USER, Postgres
from sandbox.stack import INHERITED, ROOT
from tasks.load.database import quoted

TABLE = "department_members"
REFERENCES = ROOT / ".venv-bench" / "bin" / "python"
MOST_FOR_LATENCY = 100_000
SHARES = {"1%": 100, "10%": 10, "50%": 2}
"""Of changed rows; and one row in how many that is."""
TRIGGER = f"""
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.city = 'bad' THEN RAISE 'refused'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@dataclass(frozen=True)
class Figure:
    """Medians of one step at one size; `wall` is the whole process, Python's start and imports included."""

    seconds: float
    wall: float
    peak_mb: float = 0.0
    spread: float = 0.0
    """How far the slowest run was from the fastest, as a part of the median."""


class Bench:
    """The servers, and what was measured on them at one size.

    Attributes:
        figures: what was measured, by its name in `benchmarks.report`.
        csv_bytes: the snapshot's size.
    """

    def __init__(self, members: int, runs: int, aws: SimulatedAws, postgres: Postgres, folder: Path) -> None:
        self.members, self.runs = members, runs
        self.aws, self.postgres, self.folder = aws, postgres, folder
        self.figures: dict[str, Figure] = {}
        self.csv_bytes = 0
        self.generation = 0
        self.environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            **aws.environment(),
            **postgres.environment(),
            "S3_DEPARTMENT_MEMBERS_PATH": "members.csv",
            "PREFECT_HOME": str(folder / "prefect"),
        }

    def run(self) -> None:
        """Measure everything of this size."""
        with self.lms():
            self.extracts()
            csv = self.folder / "members.csv"
            with csv.open("wb") as file:
                self.aws.s3.download_fileobj(self.environment["S3_BUCKET_NAME"], "members.csv", file)
            self.csv_bytes = csv.stat().st_size
            self.loads(csv)
            self.whole()
        if self.members <= MOST_FOR_LATENCY:
            with self.lms(latency_s=0.2):
                self.take("latency 1", lambda: self.step("fetch", LMS_MAX_CONNECTIONS="1"), runs=1)
                self.take("latency 8", lambda: self.step("fetch", LMS_MAX_CONNECTIONS="8"), runs=1)

    def extracts(self) -> None:
        """The extract beside the same pages thrown away."""
        self.take("throw away", lambda: self.step("throw_away", str(self.members)))
        self.take("extract", lambda: self.step("extract"))

    def loads(self, csv: Path) -> None:
        """The load beside psql and a loop of inserts: all new, none changed, some changed, all changed, some bad."""
        size = str(self.members)

        def load(path: Path) -> Figure:
            return self.step("load", str(path), size)

        self.take("load new", lambda: load(csv), before=self.drop)
        self.take("load unchanged", lambda: load(csv))
        self.changing("load", csv)
        self.take("load changed", lambda: load(self.changed(csv, 1)))
        self.take("staged unchanged", lambda: self.step("load", str(csv), size, "staged"), before=lambda: load(csv))
        self.changing("staged", csv, "staged")
        self.take("history new", lambda: self.step("load", str(csv), size, "history"), before=self.drop)
        self.take("history 1%", lambda: self.step("load", str(self.changed(csv, 100)), size, "history"))
        self.take("load ten uncastable", lambda: load(self.changed(csv, 1, bad="gender")))
        self.psql(f"ALTER TABLE {TABLE} ADD CONSTRAINT no_such_title CHECK (job_title IS DISTINCT FROM 'bad')")
        self.take("load ten refused", lambda: load(self.changed(csv, 1, bad="job_title")))
        self.psql(TRIGGER)
        self.take("load trigger", lambda: load(self.changed(csv, 1)))
        self.take("load ten by trigger", lambda: load(self.changed(csv, 1, bad="city")))
        statement, empty = self.reference(csv)
        self.take("psql new", lambda: self.psql(statement), before=lambda: self.psql(empty))
        self.take("psql changed", lambda: self.psql(statement))
        self.take("row by row", lambda: self.step("row_by_row", str(csv)), before=self.drop, runs=1)

    def changing(self, name: str, csv: Path, *options: str) -> None:
        """The load where some of the rows have changed since the last one."""
        for share, every in SHARES.items():

            def load(every: int = every) -> Figure:
                return self.step("load", str(self.changed(csv, every)), str(self.members), *options)

            self.take(f"{name} {share}", load)

    def whole(self) -> None:
        """`department_sync` beside an empty flow and dlt."""
        self.step("nothing")  # Prefect makes its database
        self.take("empty flow", lambda: self.step("nothing"))
        self.take("sync new", lambda: self.step("sync"), before=self.drop)
        self.take("sync unchanged", lambda: self.step("sync"))
        self.take(
            "dlt new", self.dlt, before=lambda: self.psql("DROP SCHEMA IF EXISTS dlt, dlt_staging CASCADE"), runs=1
        )
        self.take("dlt unchanged", self.dlt, runs=1)

    def take(
        self, name: str, measure: Callable[[], Figure], *, before: Callable[[], object] = lambda: None, runs: int = 0
    ) -> None:
        """Measure some times, after `before` each time, and keep the medians."""
        taken = []
        for _ in range(runs or self.runs):
            before()
            taken.append(measure())
        seconds, wall, peak_mb = (
            statistics.median(getattr(figure, of) for figure in taken) for of in ("seconds", "wall", "peak_mb")
        )
        costs = [figure.seconds for figure in taken]
        self.figures[name] = Figure(seconds, wall, peak_mb, (max(costs) - min(costs)) / seconds)
        sys.stderr.write(f"{self.members:>9,}  {name:<20} {self.figures[name].seconds:8.2f} s\n")

    def step(self, name: str, *arguments: str, **environment: str) -> Figure:
        """One run of a step of `benchmarks.steps`."""
        out, wall = self.process([sys.executable, "-m", "benchmarks.steps", name, *arguments], environment)
        result = json.loads(out.splitlines()[-1])
        return Figure(result["seconds"], wall, result["peak_mb"])

    def dlt(self) -> Figure:
        """One run of dlt, the whole process."""
        _, wall = self.process([str(REFERENCES), "benchmarks/dlt_reference.py", str(self.folder / "dlt")], {})
        return Figure(wall, wall)

    def process(self, command: list[str], environment: dict[str, str]) -> tuple[str, float]:
        """What a command printed, and the seconds it took."""
        began = time.perf_counter()
        done = subprocess.run(
            command, env={**self.environment, **environment}, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-4000:]}")
        return done.stdout, time.perf_counter() - began

    def changed(self, csv: Path, every: int, *, bad: str | None = None) -> Path:
        """The snapshot with a new job title in one row of `every`, and a bad value in ten rows of a column."""
        self.generation += 1
        read = pa.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""])
        parse = pa.csv.ParseOptions(newlines_in_values=True)
        names = csv.open(encoding="utf-8").readline().strip().replace('"', "").split(",")
        read.column_types = {name: pa.string() for name in names}
        table = pa.csv.read_csv(csv, parse_options=parse, convert_options=read)
        rows = pa.array(range(len(table)))
        table = replace(table, "job_title", pc.equal(remainder(rows, every), 0), f"title {self.generation}")
        if bad is not None:
            table = replace(table, bad, pc.equal(remainder(rows, max(1, self.members // 10)), 0), "bad")
        path = self.folder / "changed.csv"
        pa.csv.write_csv(table, path, pa.csv.WriteOptions(quoting_style="all_valid"))
        return path

    def drop(self) -> None:
        """An empty database."""
        self.psql(f"DROP TABLE IF EXISTS {TABLE}, {TABLE}_history, {TABLE}_fingerprints, lms_loads, reference CASCADE")

    def psql(self, script: str) -> Figure:
        """What psql takes for a script."""
        began = time.perf_counter()
        command = [str(self.postgres.bin / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.postgres.port), "-U", USER, "-d", DATABASE]
        library = {"PGPASSWORD": PASSWORD, "LD_LIBRARY_PATH": str(self.postgres.bin.parent / "lib")}
        environment = {**self.environment, **library}
        subprocess.run(command, input=script, env=environment, text=True, check=True, capture_output=True)
        seconds = time.perf_counter() - began
        return Figure(seconds, seconds)

    def reference(self, csv: Path) -> tuple[str, str]:
        """psql's own COPY into a text staging table and one upsert; and what makes its table empty, like ours."""
        names = csv.open(encoding="utf-8").readline().strip().replace('"', "").split(",")
        types = self.types()
        columns = ", ".join(map(quoted, names))
        statement = (
            f"CREATE TEMP TABLE staging ({', '.join(f'{quoted(name)} text' for name in names)});\n"
            f"\\copy staging from '{csv}' (format csv, header)\n"
            f"INSERT INTO reference ({columns}) SELECT {', '.join(f'{quoted(n)}::{types[n]}' for n in names)}"
            " FROM staging ON CONFLICT (lms_user_id) DO UPDATE SET "
            + ", ".join(f"{quoted(name)} = EXCLUDED.{quoted(name)}" for name in names[1:])
        )
        return statement, f"DROP TABLE IF EXISTS reference; CREATE TABLE reference (LIKE {TABLE} INCLUDING ALL)"

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

    @contextmanager
    def lms(self, latency_s: float = 0.0) -> Iterator[None]:
        """The simulated LMS, in a process of its own."""
        command = [sys.executable, "-m", "sandbox.lms", "--members", str(self.members), "--latency", str(latency_s)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            self.environment |= json.loads(process.stdout.readline())
            try:
                yield
            finally:
                process.stdin.close()


def remainder(numbers: pa.Array, divisor: int) -> pa.Array:
    """Each number modulo `divisor`."""
    return pc.subtract(numbers, pc.multiply(pc.divide(numbers, divisor), divisor))


def replace(table: pa.Table, column: str, where: pa.Array, value: str) -> pa.Table:
    """The table with `value` in the column's rows where it holds."""
    replaced = pc.if_else(where, value, table[column])
    return table.set_column(table.column_names.index(column), column, replaced)
