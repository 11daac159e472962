"""The measurements for one size: ours and their references, each run in its own process, medians of several."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copyfileobj

from benchmarks.changed import write_changed
from benchmarks.s3_server import RcloneS3
from sandbox.aws import BUCKET
from sandbox.postgres import DATABASE, PASSWORD, USER, Postgres
from sandbox.stack import INHERITED, ROOT
from tasks.load.database import quoted
from tasks.load.records import read_header

TABLE = "department_members"
REFERENCES = ROOT / ".venv-bench" / "bin" / "python"
LEAST_FOR_ALL, MOST_FOR_ALL = 10_000, 100_000
"""Outside these, little more than what has a goal is measured: the rest tells little there, or takes minutes."""
SHARES = {"1%": 100, "10%": 10, "50%": 2}
"""Share of changed rows; and N, where one row in N is changed."""
TRIGGER = f"""
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.city = 'bad' THEN RAISE 'refused'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION refuse()
"""
REFERENCE = f"DROP TABLE IF EXISTS reference; CREATE TABLE reference (LIKE {TABLE} INCLUDING ALL)"
"""An empty table for psql, like ours."""


@dataclass(frozen=True)
class Run:
    """One run of one step; for a script or a rival, of the whole process, including Python's start and imports."""

    seconds: float
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Act:
    """Something that is measured in every round."""

    name: str
    """Its name in `benchmarks.report`."""
    measure: Callable[[], Run]
    before: Callable[[], object] = lambda: None
    """Done before each run, but not measured."""


class Bench:
    """The servers, and what was measured on them at one size.

    Attributes:
        runs: the runs of each act, by its name; the first runs of all acts were in the same round, and so on.
        csv_bytes: the snapshot's size.
    """

    def __init__(
        self, members: int, rounds: int, s3: RcloneS3, sns: dict[str, str], postgres: Postgres, folder: Path
    ) -> None:
        self.members, self.rounds = members, rounds
        self.s3, self.postgres, self.folder = s3, postgres, folder
        self.runs: dict[str, list[Run]] = defaultdict(list)
        self.csv_bytes = 0
        self.generation = 0
        self.environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            **sns,
            **s3.environment(),
            **postgres.environment(),
            "S3_DEPARTMENT_MEMBERS_PATH": "members.csv",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # it waits for a server on the internet
        }

    def run(self) -> None:
        """Measure everything for this size."""
        with self.lms():
            self.play(self.extracts())
            csv = self.folder / "members.csv"
            # in one piece: for a part of an object, rclone answers with the checksum of all of it
            with csv.open("wb") as file:
                copyfileobj(self.s3.s3.get_object(Bucket=BUCKET, Key="members.csv")["Body"], file)
            self.csv_bytes = csv.stat().st_size
            self.play(self.loads(csv))
            if self.members <= MOST_FOR_ALL:
                self.play([Act("row by row", lambda: self.step("row_by_row", str(csv)), self.drop)], rounds=1)
            self.script("benchmarks/empty.py")  # so that Prefect creates its database
            self.play(self.whole())
            self.play(self.dlts(), rounds=1)
        if self.members <= MOST_FOR_ALL:
            with self.lms(latency_s=0.2):
                acts = [Act(f"latency {n}", partial(self.step, "fetch", LMS_MAX_CONNECTIONS=n)) for n in ("1", "8")]
                self.play(acts, rounds=1)

    def extracts(self) -> list[Act]:
        """The extract, and its reference: the same pages, fetched and thrown away."""
        return [
            Act("throw away", lambda: self.step("throw_away", str(self.members))),
            Act("extract", lambda: self.step("extract")),
        ]

    def loads(self, csv: Path) -> list[Act]:
        """The load, and psql as its reference: all new, none changed, some changed, all changed, some bad."""
        size = str(self.members)

        def load(path: Path, *options: str) -> Run:
            return self.step("load", str(path), size, *options)

        def load_changed(every: int, *options: str) -> Run:
            return load(self.changed(csv, every), *options)

        def changing(name: str, *options: str) -> list[Act]:
            return [Act(f"{name} {share}", partial(load_changed, every, *options)) for share, every in SHARES.items()]

        check = f"ALTER TABLE {TABLE} ADD CONSTRAINT no_such_title CHECK (job_title IS DISTINCT FROM 'bad')"
        with_goals = [
            Act("load new", lambda: load(csv), self.drop),
            Act("psql new", lambda: self.psql(self.reference(csv)), lambda: self.psql(REFERENCE)),
            Act("psql changed", lambda: self.psql(self.reference(csv))),
            Act("load unchanged", lambda: load(csv)),
            *changing("load"),
            Act("load changed", lambda: load_changed(1)),
        ]
        history = [
            Act("history new", lambda: load(csv, "history"), self.drop),
            Act("history 1%", lambda: load_changed(100, "history")),
        ]
        others = [
            Act("staged unchanged", lambda: load(csv, "staged"), lambda: load(csv)),
            *changing("staged", "staged"),
            Act("staged changed", lambda: load_changed(1, "staged")),
            Act("load ten uncastable", lambda: load(self.changed(csv, 1, bad="gender"))),
            Act("load ten refused", lambda: load(self.changed(csv, 1, bad="job_title")), lambda: self.psql(check)),
            Act("load trigger", lambda: load_changed(1), lambda: self.psql(TRIGGER)),
            Act("load ten by trigger", lambda: load(self.changed(csv, 1, bad="city"))),
        ]
        return [*with_goals, *(others if LEAST_FOR_ALL <= self.members <= MOST_FOR_ALL else []), *history]

    def whole(self) -> list[Act]:
        """`department_sync` as a script, and an empty flow for comparison."""
        return [
            Act("usual flow", lambda: self.script("benchmarks/empty.py", "--usual")),
            Act("empty flow", lambda: self.script("benchmarks/empty.py")),
            Act("sync new", lambda: self.script("flows/department_sync.py", "--create-table"), self.drop),
            Act("sync unchanged", lambda: self.script("flows/department_sync.py")),
        ]

    def dlts(self) -> list[Act]:
        """The same with dlt."""
        empty = "DROP SCHEMA IF EXISTS dlt, dlt_staging CASCADE"
        acts = [Act("dlt new", self.dlt, lambda: self.psql(empty)), Act("dlt unchanged", self.dlt)]
        return acts if self.members <= MOST_FOR_ALL else acts[:1]

    def play(self, acts: list[Act], rounds: int = 0) -> None:
        """Measure every act in every round, so that an act and its reference are measured shortly after one another."""
        for number in range(rounds or self.rounds):
            for act in acts:
                act.before()
                taken = act.measure()
                self.runs[act.name].append(taken)
                sys.stderr.write(f"{self.members:>9,}  round {number + 1}  {act.name:<20} {taken.seconds:8.2f} s\n")

    def step(self, name: str, *arguments: str, **environment: str) -> Run:
        """One run of a step of `benchmarks.steps`."""
        out, _ = self.process([sys.executable, "-m", "benchmarks.steps", name, *arguments], environment)
        result = json.loads(out.splitlines()[-1])
        return Run(result["seconds"], result["peak_mb"])

    def script(self, *command: str) -> Run:
        """One run of a script, measured as a whole process."""
        out, wall = self.process([sys.executable, "-m", "benchmarks.as_script", *command], {})
        return Run(wall, json.loads(out.splitlines()[-1])["peak_mb"])

    def dlt(self) -> Run:
        """One run of dlt, measured as a whole process."""
        _, wall = self.process([str(REFERENCES), "benchmarks/dlt_reference.py", str(self.folder / "dlt")], {})
        return Run(wall)

    def process(self, command: list[str], environment: dict[str, str]) -> tuple[str, float]:
        """Run a command; return what it printed, and the seconds it took."""
        began = time.perf_counter()
        done = subprocess.run(
            command, env={**self.environment, **environment}, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-4000:]}")
        return done.stdout, time.perf_counter() - began

    def changed(self, csv: Path, every: int, *, bad: str | None = None) -> Path:
        """The snapshot with a new job title in one row out of `every`, and a bad value in ten rows of column `bad`."""
        self.generation += 1
        changes = [("job_title", every, f"title {self.generation}")]
        if bad is not None:
            changes.append((bad, max(1, self.members // 10), "bad"))
        return write_changed(csv, self.folder / "changed.csv", changes)

    def drop(self) -> None:
        """Empty the database."""
        self.psql(f"DROP TABLE IF EXISTS {TABLE}, {TABLE}_history, {TABLE}_fingerprints, lms_loads, reference CASCADE")

    def psql(self, script: str) -> Run:
        """Run a script with psql, and measure it."""
        began = time.perf_counter()
        command = [str(self.postgres.bin / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.postgres.port), "-U", USER, "-d", DATABASE]
        library = {"PGPASSWORD": PASSWORD, "LD_LIBRARY_PATH": str(self.postgres.bin.parent / "lib")}
        environment = {**self.environment, **library}
        subprocess.run(command, input=script, env=environment, text=True, check=True, capture_output=True)
        return Run(time.perf_counter() - began)

    def reference(self, csv: Path) -> str:
        """A script for psql: COPY into a staging table of text columns, and one upsert."""
        names, types = read_header(csv), self.types()
        columns = ", ".join(map(quoted, names))
        return (
            f"CREATE TEMP TABLE staging ({', '.join(f'{quoted(name)} text' for name in names)});\n"
            f"\\copy staging from '{csv}' (format csv, header)\n"
            f"INSERT INTO reference ({columns}) SELECT {', '.join(f'{quoted(n)}::{types[n]}' for n in names)}"
            " FROM staging ON CONFLICT (lms_user_id) DO UPDATE SET "
            + ", ".join(f"{quoted(name)} = EXCLUDED.{quoted(name)}" for name in names[1:])
        )

    def types(self) -> dict[str, str]:
        """The column types of the members' table."""
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
        """The simulated LMS, in its own process."""
        command = [sys.executable, "-m", "sandbox.lms", "--members", str(self.members), "--latency", str(latency_s)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            self.environment |= json.loads(process.stdout.readline())
            try:
                yield
            finally:
                process.stdin.close()
