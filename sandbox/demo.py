"""`make demo`: department_sync and course_sync on the embedded default, shown in the terminal.

Against a simulated LMS, S3, SNS, an embedded PostgreSQL and a Prefect server it loads a department; again after people
joined, left and were edited; again after one came back; then a course's enrollments, with the view of who has got how
far; then an organisation of four departments, one of which fails; and once more with a broken password. Exits 1 if
anything it shows is not what it expected. Leaves nothing running.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from sandbox.courses import COURSE
from sandbox.people import DEPARTMENT
from sandbox.prefect_server import PrefectServer
from sandbox.stack import Sandbox

MEMBERS, JOINED, LEFT, EDITED, ENROLLED = 3000, 25, 4, 40, 400
ORGANISATION = {"Sales": 120, "Nursing": 300, "Theatre 3": 40, "IT": 60}
DENIED = "Nursing"
ACTIVE_AGAIN = """
    SELECT lms_enrollment_id::text FROM course_enrollments WHERE is_active AND lms_user_id IN (
        SELECT lms_user_id FROM course_enrollments WHERE NOT is_active)
"""
PROGRESS = """
    SELECT status, round(avg(progress)), was_completed, count(*) FROM department_course_progress
    GROUP BY status, was_completed ORDER BY count(*) DESC, status
"""
FLAGS = ("--create-table", "--on-departure", "mark", "--history")
TOLD = (
    "scopes",
    "failed",
    "rows",
    "pages",
    "sign_ins",
    "read",
    "inserted",
    "updated",
    "unchanged",
    "rejected",
    "departed",
    "returned",
)
BOLD, DIM, GREEN, RED, PLAIN = ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m")


class Demo:
    """The sandbox, and whether all it showed was as expected."""

    def __init__(self, box: Sandbox, prefect_api_url: str) -> None:
        self.box = box
        self.prefect_api_url = prefect_api_url
        self.surprises = 0
        self.alerts_shown = 0

    def say(self, text: str, style: str = "") -> None:
        """One line, coloured where a terminal shows it."""
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        sys.stdout.write(f"{style}{text}{PLAIN}\n" if colour and style else f"{text}\n")
        sys.stdout.flush()

    def expect(self, what: str, expected: Any, found: Any) -> None:
        """Show what was found; remember a difference."""
        if expected == found:
            self.say(f"  ok   {what}: {found}", GREEN)
        else:
            self.surprises += 1
            self.say(f"  FAIL {what}: expected {expected}, found {found}", RED)

    def sync(self, title: str, flow: str = "department_sync", **more: str) -> tuple[int, dict[str, int]]:
        """Run a flow as a script in an environment with `more`, its log shown; exit code and the counts it reported."""
        self.say(f"\n{title}", BOLD)
        self.say(f"  $ python flows/{flow}.py {' '.join(FLAGS)}", DIM)
        counts: dict[str, int] = {}
        began = time.monotonic()
        env = {"PREFECT_API_URL": self.prefect_api_url, "COURSE_ID": COURSE, **more}
        command = self.box.command(f"flows/{flow}.py", *FLAGS, env=env)
        process = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout or ():
            if "|" in line or line.startswith(flow.replace("_", "-")):
                self.say("  | " + line.rstrip()[:200], DIM)
            found = dict(word.split("=", 1) for word in line.split() if "=" in word)
            counts |= {name: int(found[name]) for name in TOLD if name in found}
        code = process.wait(120)
        self.say(f"  exit code {code} after {time.monotonic() - began:.1f} s")
        return code, counts

    def expect_counts(self, counts: dict[str, int], **expected: int) -> None:
        """Check what the run reported."""
        for name, number in expected.items():
            self.expect(name, number, counts.get(name))


def first_load(demo: Demo) -> None:
    """Everybody is new."""
    code, counts = demo.sync(f"1. {MEMBERS} members, an empty database")
    demo.expect("exit code", 0, code)
    demo.expect_counts(counts, rows=MEMBERS, inserted=MEMBERS, unchanged=0, rejected=0, sign_ins=1)
    for key, body in demo.box.aws.objects().items():
        demo.say(f"  the CSV: s3://lms-snapshots/{key}, {len(body)} bytes")
    look(demo)


def look(demo: Demo) -> None:
    """A few rows of the table."""
    rows = demo.box.query(
        "SELECT first_name, last_name, employee_number, date_edited, custom_fields->>'decimal1',"
        " departed_at IS NOT NULL FROM department_members ORDER BY user_name LIMIT 4"
    )
    demo.say("  first_name  last_name        employee_number  date_edited                 decimal1    departed")
    for first, last, number, edited, decimal, departed in rows:
        shown = f"  {first:<11} {last:<16} {number:<16} {edited:%Y-%m-%d %H:%M:%S.%f}  {decimal or '':<11} {departed}"
        demo.say(shown)


def second_load(demo: Demo) -> list[dict[str, Any]]:
    """Some joined, some were edited, some left; those who left."""
    lms = demo.box.lms
    ids = list(lms.members)
    for member_id in ids[:EDITED]:
        lms.edit(member_id, jobTitle="Promoted")
    left = [member for member_id in ids[-LEFT:] if (member := lms.remove(member_id)) is not None]
    lms.add_people(JOINED)
    code, counts = demo.sync(f"2. {EDITED} edited, {JOINED} joined, {LEFT} left")
    demo.expect("exit code", 0, code)
    demo.expect_counts(
        counts, inserted=JOINED, updated=EDITED, unchanged=MEMBERS - EDITED - LEFT, departed=LEFT, returned=0
    )
    marked = demo.box.query("SELECT count(*) FROM department_members WHERE departed_at IS NOT NULL")
    demo.expect("rows marked as departed", LEFT, marked[0][0])
    return left


def third_load(demo: Demo, left: list[dict[str, Any]]) -> None:
    """One came back."""
    demo.box.lms.add(left[0])
    code, counts = demo.sync("3. one came back")
    demo.expect("exit code", 0, code)
    demo.expect_counts(counts, inserted=0, updated=1, departed=0, returned=1)
    show_history(demo, left[0]["id"])


def show_history(demo: Demo, member_id: str) -> None:
    """What has become of one member, and the table as it was after the first load."""
    rows = demo.box.query(
        "SELECT first_name, change, to_char(valid_from, 'HH24:MI:SS'), coalesce(to_char(nullif(valid_to, 'infinity'), "
        f"'HH24:MI:SS'), 'now'), load_id FROM department_members_history WHERE lms_user_id = '{member_id}' "
        "ORDER BY valid_from"
    )
    demo.say("  the history of the one who came back:")
    demo.say("  first_name  change      from      until     load")
    for first, change, begins, ends, load_id in rows:
        demo.say(f"  {first:<11} {change:<11} {begins}  {ends:<9} {load_id}")
    demo.expect("versions", ["inserted", "departed", "returned"], [change for _, change, *_ in rows])
    first_night = demo.box.query(
        "SELECT count(*) FROM department_members_history AS h, (SELECT min(valid_from) AS at FROM "
        "department_members_history) AS first WHERE valid_from <= at AND at < valid_to"
    )
    demo.expect("members as of the first load", MEMBERS, first_night[0][0])


def enrollments(demo: Demo) -> None:
    """The second stream; then the view over both tables."""
    courses, ids = demo.box.lms.courses, list(demo.box.lms.members)
    first = [courses.enrol(member_id) for member_id in ids[:ENROLLED]]
    again = courses.enrol_again(first[0])
    code, counts = demo.sync(f"4. {ENROLLED} of them take a course, one for the second time", "course_sync")
    demo.expect("exit code", 0, code)
    demo.expect_counts(counts, rows=ENROLLED + 1, inserted=ENROLLED + 1, rejected=0)
    demo.expect("enrollment that is active now", again, demo.box.query(ACTIVE_AGAIN)[0][0])
    demo.say("  department_course_progress, one row for each member and course:")
    demo.say("  status         progress  completed before  members")
    for status, progress, completed, members in demo.box.query(PROGRESS):
        demo.say(
            f"  {status or 'not enrolled':<14} {'' if progress is None else progress:<9} {completed!s:<17} {members}"
        )
    everybody = demo.box.query("SELECT count(*) FROM department_course_progress")[0][0]
    demo.expect("rows of the view, one a member", MEMBERS + JOINED - LEFT + 1, everybody)


def organisation(demo: Demo) -> None:
    """Four departments in one run; the account may not read one of them: the others are loaded, one alert names it."""
    lms = demo.box.lms
    ids = {name: lms.add_department(name, DEPARTMENT) for name in ORGANISATION}
    for name, size in ORGANISATION.items():
        lms.add_people(size, ids[name])
    lms.denied.add(ids[DENIED])
    path = "department_members/{department_id}.csv"
    more = {"DEPARTMENT_ID": ",".join(ids.values()), "S3_DEPARTMENT_MEMBERS_PATH": path}
    code, counts = demo.sync(f"5. {len(ids)} departments in one run; the account may not read {DENIED}", **more)
    demo.expect("exit code", 1, code)
    demo.expect_counts(counts, scopes=len(ids), failed=1)
    loaded = dict(demo.box.query("SELECT department_id::text, count(*) FROM department_members GROUP BY 1"))
    for name, size in ORGANISATION.items():
        demo.expect(f"members of {name}", 0 if name == DENIED else size, loaded.get(ids[name], 0))
    show_alert(demo)


def show_alert(demo: Demo) -> None:
    """The one alert that was published since the last look."""
    alerts = demo.box.aws.alerts()[demo.alerts_shown :]
    demo.alerts_shown += len(alerts)
    demo.expect("alerts published", 1, len(alerts))
    for alert in alerts:
        demo.say(f"  the alert: {alert['Subject']}")
        for line in alert["Message"].splitlines():
            demo.say(f"  > {line}", DIM)
    demo.expect("secrets in the alert", False, "lms-p@ss" in json.dumps(alerts))


def failing_load(demo: Demo) -> None:
    """The LMS refuses the password: nothing changes, and one alert goes out."""
    before = demo.box.query("SELECT md5(string_agg(t::text, '' ORDER BY lms_user_id)) FROM department_members t")
    demo.box.lms.password = "changed by somebody"
    code, _ = demo.sync("6. the LMS password was changed")
    demo.expect("exit code", 1, code)
    after = demo.box.query("SELECT md5(string_agg(t::text, '' ORDER BY lms_user_id)) FROM department_members t")
    demo.expect("table untouched", before, after)
    show_alert(demo)


def main() -> int:
    """Run the demo; the exit code."""
    began = time.monotonic()
    sys.stdout.write("Starting a simulated LMS, S3, SNS, PostgreSQL and Prefect on 127.0.0.1 ...\n")
    with Sandbox(MEMBERS) as box, PrefectServer(box.environment()) as prefect:
        demo = Demo(box, prefect.url)
        demo.say(
            f"  LMS {box.lms.url}, S3 and SNS {box.aws.url}, PostgreSQL port {box.postgres.port}, Prefect {prefect.url}"
        )
        demo.say(f"  department {DEPARTMENT}")
        first_load(demo)
        third_load(demo, second_load(demo))
        enrollments(demo)
        organisation(demo)
        failing_load(demo)
        seconds = time.monotonic() - began
        outcome = "All as expected" if demo.surprises == 0 else f"{demo.surprises} surprises"
        demo.say(f"\n{outcome}, in {seconds:.0f} s. Nothing is left running.", GREEN if not demo.surprises else RED)
    return int(demo.surprises > 0)


if __name__ == "__main__":
    raise SystemExit(main())
