"""An organisation at random: people and departments come, move and go, departments fail, runs are killed; after each
step every department's rows equal the model.

ORGANISATION_STEPS says how many steps (4), ORGANISATION_SEED repeats a run.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flows.department_sync import department_sync
from sandbox.people import DEPARTMENT, person
from sandbox.stack import Sandbox
from tasks.errors import ScopesFailed

STEPS = int(os.environ.get("ORGANISATION_STEPS", "4"))


class Organisation:
    """The LMS's departments and people, changed at random, and what the table should hold of them."""

    def __init__(self, box: Sandbox, rng: random.Random) -> None:
        self.box, self.rng = box, rng
        self.loaded: dict[str, set[str]] = {}
        """Who was in each department when it was last loaded."""
        self.seed = 0
        for number in range(4):
            self.found(f"Department {number}")

    @property
    def departments(self) -> list[str]:
        return [each for each in self.box.lms.departments if each != DEPARTMENT]

    def people(self, department: str) -> list[str]:
        return [key for key, each in self.box.lms.members.items() if each["departmentId"].lower() == department]

    def found(self, name: str) -> None:
        parent = self.rng.choice(list(self.box.lms.departments))
        self.join(self.box.lms.add_department(name, parent), self.rng.randint(12, 20))

    def join(self, department: str, count: int) -> None:
        for _ in range(count):
            self.seed += 1
            self.box.lms.add(person(self.seed, department))

    def change(self) -> None:
        """Some join, some leave, some move; a department may be founded, or closed, its people moved elsewhere."""
        lms, rng = self.box.lms, self.rng
        for department in self.departments:
            self.join(department, rng.randint(0, 2))
            for key in rng.sample(self.people(department), min(2, len(self.people(department)))):
                if rng.random() < 0.5:
                    self.moment += 1
                    lms.edit(key, departmentId=rng.choice(self.departments), dateEdited=self.now())
                elif rng.random() < 0.4:
                    lms.remove(key)
        if rng.random() < 0.3:
            self.found(f"Department {self.seed}")
        childless = [d for d in self.departments if d not in {each["parentId"] for each in lms.departments.values()}]
        if len(self.departments) > 3 and childless and rng.random() < 0.3:
            closed = rng.choice(childless)
            for key in self.people(closed):
                self.moment += 1
                lms.edit(
                    key, departmentId=rng.choice([d for d in self.departments if d != closed]), dateEdited=self.now()
                )
            del lms.departments[closed]

    moment = 0

    def now(self) -> str:
        return f"2026-03-01T{self.moment // 3600:02d}:{self.moment // 60 % 60:02d}:{self.moment % 60:02d}Z"

    def expected(self) -> set[tuple[str, str]]:
        """Person and department: as of the department's last load, but that who was loaded elsewhere later is there."""
        return {(key, department) for department, keys in self.loaded.items() for key in keys}

    def note(self, department: str) -> None:
        """That department was loaded just now."""
        now = set(self.people(department))
        for other, keys in self.loaded.items():
            if other != department:
                keys -= now
        self.loaded[department] = now


def stored(box: Sandbox) -> set[tuple[str, str]]:
    return set(
        box.query("SELECT lms_user_id::text, department_id::text FROM department_members WHERE departed_at IS NULL")
    )


@pytest.fixture
def organisation(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Organisation]:
    monkeypatch.setenv("S3_DEPARTMENT_MEMBERS_PATH", "members/{department_id}.csv")
    seed = int(os.environ.get("ORGANISATION_SEED", random.SystemRandom().randrange(10**6)))
    print("ORGANISATION_SEED", seed)
    yield Organisation(in_process, random.Random(seed))


OPTIONS: dict[str, Any] = {
    "expand_subdepartments": True,
    "on_departure": "mark",
    "max_departures": "100%",
    "allow_shrink": True,
}
FLAGS = [
    "--create-table",
    "--expand-subdepartments",
    "--on-departure",
    "mark",
    "--max-departures",
    "100%",
    "--allow-shrink",
]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_each_run_every_departments_rows_equal_the_model(organisation: Organisation) -> None:
    box, rng = organisation.box, organisation.rng
    for step in range(STEPS):
        organisation.change()
        failing = set(rng.sample(organisation.departments, rng.choice([0, 0, 1, 2])))
        box.lms.denied = failing
        box.lms.reads_below = rng.random() < 0.5 and not failing  # a denied one is read through none of those above
        if step == STEPS // 2:
            kill_a_run(box, rng.uniform(2.0, 8.0))
            box.lms.denied = failing = set()
        try:
            department_sync(department_id=DEPARTMENT, create_table=True, **OPTIONS)
            assert not failing
        except ScopesFailed as error:
            assert len(error.problems) == len(failing) > 0
        for department in organisation.departments:
            if department not in failing:
                organisation.note(department)
        # Who is in a department that failed, and was loaded from elsewhere before, has left that one for the table.
        gone = {key for keys in organisation.loaded.values() for key in keys} - set(box.lms.members)
        held = {department: {k for k in keys if k not in gone or department in failing or department not in box.lms.departments}
                for department, keys in organisation.loaded.items()}  # fmt: skip
        organisation.loaded = held
        assert stored(box) == organisation.expected(), f"step {step}"


def kill_a_run(box: Sandbox, after_s: float) -> None:
    """Start a run as a script, and kill it with the Prefect server that it starts."""
    env = {"S3_DEPARTMENT_MEMBERS_PATH": "members/{department_id}.csv", "DEPARTMENT_ID": DEPARTMENT}
    run = subprocess.Popen(
        **box.command("flows/department_sync.py", *FLAGS, env=env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(after_s)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
