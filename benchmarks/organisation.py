"""40 departments of 500 members in one run, compared with one department of 20,000 and with one run per department."""

import subprocess
import time
from collections.abc import Iterator

from benchmarks.floor import script
from sandbox.people import DEPARTMENT
from sandbox.prefect_server import PrefectServer
from sandbox.stack import Sandbox

DEPARTMENTS, MEMBERS, ALONE = 40, 500, 5
PATH = "department_members/{department_id}.csv"


def measure_organisation() -> list[tuple[str, float, str]]:
    """What was run, its seconds as a script with a running Prefect server, and the comparison with its references."""
    with Sandbox() as box, PrefectServer(box.environment()) as server:
        lms = box.lms
        ids = [lms.add_department(f"Department {number}", DEPARTMENT) for number in range(DEPARTMENTS)]
        for department in ids:
            lms.add_people(MEMBERS, department)
        whole = lms.add_department("Whole", DEPARTMENT)
        lms.add_people(DEPARTMENTS * MEMBERS, whole)
        began = time.perf_counter()
        script(server.environment)
        empty = time.perf_counter() - began
        found = [("an empty flow", empty, "")]
        for what in ("all new", "nothing changed"):
            one = sync(box, server, whole)
            many = sync(box, server, ",".join(ids))
            runs = [sync(box, server, department) for department in ids[:ALONE]]
            each = sum(runs) / ALONE
            found += [
                (f"one department of {DEPARTMENTS * MEMBERS:,}, {what}", one, ""),
                (f"{DEPARTMENTS} departments of {MEMBERS} in one run, {what}", many, beside(many, one, empty, each)),
                (f"a run of one department of {MEMBERS}, {what} (mean of {ALONE})", each, ""),
            ]
        check(box, [*ids, whole])
    return found


def sync(box: Sandbox, server: PrefectServer, departments: str) -> float:
    """Run department_sync as a script; return its seconds."""
    env = {"PREFECT_API_URL": server.url, "DEPARTMENT_ID": departments, "S3_DEPARTMENT_MEMBERS_PATH": PATH}
    began = time.perf_counter()
    subprocess.run(
        **box.command("flows/department_sync.py", "--create-table", env=env), check=True, capture_output=True
    )
    return time.perf_counter() - began


def beside(many: float, one: float, empty: float, each: float) -> str:
    """The ratios to both references; an empty flow's time is subtracted for the first."""
    return (
        f"{(many - empty) / (one - empty):.2f} times one department, less an empty flow (goal 2.5); "
        f"{many / (DEPARTMENTS * each):.3f} of {DEPARTMENTS} runs (goal 0.1)"
    )


def check(box: Sandbox, departments: list[str]) -> None:
    """Raise RuntimeError unless each department has as many members in the table as in the LMS."""
    stored = dict(box.query("SELECT department_id::text, count(*) FROM department_members GROUP BY 1"))
    expected = {department: len(list(members(box, department))) for department in departments}
    if stored != expected:
        raise RuntimeError("the table does not hold the departments' members")


def members(box: Sandbox, department: str) -> Iterator[str]:
    """The ids of a department's members."""
    return (key for key, each in box.lms.members.items() if each["departmentId"].lower() == department)


def organisation_table(found: list[tuple[str, float, str]]) -> list[str]:
    """What was run, how long it took, and how that compares with its references."""
    return [
        "## Many departments in one run",
        "",
        "As scripts, with a running Prefect server; each department's rows were counted.",
        "",
        "| what | seconds | compared with its references |",
        "|---|---|---|",
        *(f"| {what} | {seconds:.2f} | {ratio} |" for what, seconds, ratio in found),
        "",
    ]


if __name__ == "__main__":
    print("\n".join(organisation_table(measure_organisation())))
