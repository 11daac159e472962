"""Random edits, faults, kills, duplicate and late events; after every step the table equals the model.

python -m tests.soak --minutes 20 --seed 7
"""

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from flows.lms_to_s3 import lms_to_s3
from flows.s3_to_rds import s3_to_rds
from sandbox import faults
from sandbox.aws import BUCKET
from sandbox.stack import Sandbox
from tasks.errors import PipelineError
from tasks.files import run_folder
from tasks.load.schema import inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tasks.s3 import S3Object, read_object
from tests.support.prefect_api import own_prefect_api

KEY = "soak.csv"
NAMES = ["Ada", "", None, "NULL", "a\nb", '"', "Zoë", " "]
PASSING: list[Any] = [
    partial(faults.status, 503),
    faults.html,
    faults.cut_json,
    faults.cut_connection,
    faults.transient_401,
]
Person = tuple[str | None, str | None]


@dataclass
class Published:
    """One snapshot in S3, and who was in it: id to first name and job title."""

    version_id: str
    people: dict[str, Person]


@dataclass
class Soak:
    """The sandbox, the model of the table, and what must be true of both."""

    box: Sandbox
    rng: random.Random
    published: list[Published] = field(default_factory=list)
    newest_applied: int = -1
    applied: set[int] = field(default_factory=set)
    failures: int = 0
    table: dict[str, tuple[str | None, str | None, bool]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        """One random act, then every invariant."""
        act = self.rng.choices(list(ACTS), list(ACTS.values()))[0]
        self.done[act.__name__] += 1
        act(self)
        self.check()

    def change(self) -> None:
        """People are edited, join, leave, come back."""
        lms, rng = self.box.lms, self.rng
        for member_id in rng.sample(list(lms.members), 5):
            lms.edit(member_id, firstName=rng.choice(NAMES), jobTitle=rng.choice(NAMES))
        lms.add_people(rng.randrange(4))
        for member_id in rng.sample(list(lms.members), rng.randrange(4)):
            gone = lms.remove(member_id)
            if gone is not None and rng.random() < 0.3:
                lms.add(gone)

    def extract(self) -> None:
        """Publish a snapshot, through a passing fault or none."""
        if self.rng.random() < 0.5:
            self.box.lms.faults[:] = [self.rng.choice(PASSING)(times=1)]
        lms_to_s3(path=KEY)
        self.box.lms.faults.clear()
        self.published.append(Published(str(self.newest_object()), self.people()))

    def fail(self) -> None:
        """An extract that must fail publishes nothing, and is told of once."""
        before = self.newest_object()
        self.box.lms.faults[:] = [self.rng.choice([faults.without("users"), faults.status(422, times=None)])]
        try:
            lms_to_s3(path=KEY)
        except PipelineError:
            self.failures += 1
        else:
            raise AssertionError("an extract that had to fail did not")
        self.box.lms.faults.clear()
        assert self.newest_object() == before

    def load(self) -> None:
        """The newest snapshot is applied, unless it was."""
        if self.published:
            self.load_number(len(self.published) - 1)

    def repeat(self) -> None:
        """An event that comes again, or late: any snapshot ever published."""
        if self.published:
            self.load_number(self.rng.randrange(len(self.published)))

    def load_number(self, number: int) -> None:
        """Load one snapshot by flow, and check that it was skipped or applied as the order demands."""
        version_id = self.published[number].version_id
        report = s3_to_rds(
            key=KEY, version_id=version_id, on_departure="mark", max_departures="100%", create_table=True
        )
        skipped = number in self.applied or number < self.newest_applied
        assert report["outcome"].startswith("skipped") == skipped, report
        if not skipped:
            self.apply(number)

    def apply(self, number: int) -> None:
        """The model after snapshot `number`."""
        people = self.published[number].people
        self.table = {i: (first, job, True) for i, (first, job, _) in self.table.items()}
        self.table |= {i: (first, job, False) for i, (first, job) in people.items()}
        self.applied.add(number)
        self.newest_applied = number

    def kill(self) -> None:
        """A load that is killed has happened whole, or not at all."""
        if not self.published or len(self.published) - 1 in self.applied:
            return
        number = len(self.published) - 1
        if (child := os.fork()) == 0:
            try:
                self.load_plainly(number)
            finally:
                os._exit(0)
        time.sleep(self.rng.uniform(0, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self.wait_until_quiet()
        if self.ledger_rows() > len(self.applied):
            self.apply(number)
        self.check()
        self.load_number(number)

    def kill_flow(self) -> None:
        """A whole sync, Prefect and all, that is killed: each of its two halves has happened whole, or not at all."""
        self.box.lms.faults[:] = [faults.delay(0.3, times=None)]
        options = ("--path", KEY, "--create-table", "--on-departure", "mark", "--max-departures", "100%")
        command = self.box.command("flows/department_sync.py", *options)
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        process = subprocess.Popen(**command, **quiet)
        answered = len(self.box.lms.requests)
        while len(self.box.lms.requests) == answered and process.poll() is None:
            time.sleep(0.02)
        time.sleep(self.rng.uniform(0, 2.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.box.lms.faults.clear()
        self.wait_until_quiet()
        head = self.newest_object()
        if head is not None and head not in [snapshot.version_id for snapshot in self.published]:
            self.published.append(Published(head, self.people()))
        if self.ledger_rows() > len(self.applied):
            self.apply(len(self.published) - 1)

    def load_plainly(self, number: int) -> None:
        """The load without Prefect's engine, for a process that is about to be killed."""
        with run_folder() as folder:
            source = S3Object(BUCKET, KEY, self.published[number].version_id)
            snapshot = read_object.fn(source, Path(folder) / "snapshot.csv")
            table = inspect_schema.fn("public", "department_members", create_table=True)
            upsert_snapshot.fn(snapshot, table, LoadOptions(on_departure="mark", max_departures="100%"))

    def wait_until_quiet(self) -> None:
        """The server has noticed that a killed client is gone."""
        while self.box.query("SELECT 1 FROM pg_stat_activity WHERE application_name = 'department-members'"):
            time.sleep(0.02)

    def people(self) -> dict[str, Person]:
        """Who is in the department now."""
        return {i: (m["firstName"], m["jobTitle"]) for i, m in self.box.lms.members.items()}

    def newest_object(self) -> str | None:
        """The newest version of the snapshot's object."""
        listed = self.box.aws.s3.list_object_versions(Bucket=BUCKET, Prefix=KEY).get("Versions", [])
        return next((str(version["VersionId"]) for version in listed if version["IsLatest"]), None)

    def ledger_rows(self) -> int:
        """How many loads were committed."""
        if self.box.query("SELECT to_regclass('lms_loads')") == [(None,)]:
            return 0
        return int(self.box.query("SELECT count(*) FROM lms_loads")[0][0])

    def check(self) -> None:
        """The table is the model's, the ledger has a row a load, and each failure was told of once."""
        assert self.ledger_rows() == len(self.applied)
        assert len(self.box.aws.alerts()) == self.failures
        if self.applied:
            rows = self.box.query(
                "SELECT lms_user_id::text, first_name, job_title, departed_at IS NOT NULL FROM department_members"
            )
            assert {row[0]: tuple(row[1:]) for row in rows} == self.table


ACTS: dict[Callable[[Soak], None], int] = {
    Soak.change: 4,
    Soak.extract: 8,
    Soak.fail: 4,
    Soak.load: 8,
    Soak.repeat: 4,
    Soak.kill: 4,
    Soak.kill_flow: 1,
}


def soak(seconds: float, seed: int) -> Counter[str]:
    """Step for that long; what was done. Prints the seed first, so that a failure can be repeated."""
    sys.stdout.write(f"soak: seed {seed}\n")
    with Sandbox(60) as box, own_prefect_api():
        os.environ.update({k: v for k, v in box.environment().items() if not k.startswith("PREFECT_")})
        logging.disable(logging.CRITICAL)
        run = Soak(box, random.Random(seed))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            run.step()
    return run.done


def main() -> None:
    """Command line of `make soak MINUTES=n`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    done = soak(options.minutes * 60, options.seed)
    sys.stdout.write(f"soak: {sum(done.values())} steps held: {dict(done)}\n")


if __name__ == "__main__":
    main()
