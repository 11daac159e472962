"""Course enrollments, from the LMS into their table and the view; and never into another stream's table."""

from decimal import Decimal

import pytest

from flows.course_sync import course_sync
from flows.course_to_s3 import course_to_s3
from flows.department_sync import department_sync
from flows.s3_to_rds import s3_to_rds
from sandbox import faults
from sandbox.courses import COURSE
from sandbox.people import DEPARTMENT
from sandbox.stack import Sandbox
from tasks.errors import ConfigError, IncompleteSnapshot, ObjectInvalid, ScopesFailed, TooManyDepartures

KEY = f"course_enrollments/{COURSE}.csv"


@pytest.fixture
def course(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Twelve members, each enrolled once."""
    monkeypatch.setenv("COURSE_ID", COURSE.upper())
    for member_id in in_process.lms.add_people(12):
        in_process.lms.courses.enrol(member_id)
    return in_process


def test_each_value_lands_as_it_was_sent_and_a_second_load_rewrites_nothing(course: Sandbox) -> None:
    sent = course.lms.courses.enrollments[COURSE]
    first = course_sync(create_table=True)
    assert (first["course_to_s3"]["rows"], first["s3_to_rds"]["inserted"]) == (12, 12)
    assert {each.get("courseId", "").lower() for each in sent.values()} == {COURSE, ""}  # some name no course
    columns = "lms_enrollment_id::text, course_id::text, lms_user_id::text, status, progress, score, time_spent_ticks, time_spent, is_active"
    stored = {row[0]: row[1:] for row in course.query(f"SELECT {columns} FROM course_enrollments")}
    for key, each in sent.items():
        numbers = [None if each[name] is None else Decimal(str(each[name])) for name in ("progress", "score")]
        user_id = each["userId"].lower()
        assert stored[key] == (
            COURSE,
            user_id,
            each["status"],
            *numbers,
            each["timeSpentTicks"],
            each["timeSpent"],
            True,
        )
    assert "Somebody" not in course.aws.objects()[KEY].decode()
    assert course_sync()["s3_to_rds"]["unchanged"] == 12


def test_who_enrols_again_has_two_rows_and_the_view_shows_the_active_one(course: Sandbox) -> None:
    courses = course.lms.courses
    first = next(iter(courses.enrollments[COURSE]))
    courses.edit(first, status=3, progress=100, dateCompleted="2026-02-01T10:00:00Z")
    course_sync(create_table=True)
    assert course.query("SELECT to_regclass('department_course_progress')") == [(None,)]
    again = courses.enrol_again(first, dateDue="2026-12-31T00:00:00Z", timeSpentTicks=36_000_000_000)
    department_sync(create_table=True)
    reports = course_sync()
    assert (reports["s3_to_rds"]["inserted"], reports["s3_to_rds"]["updated"]) == (1, 1)
    view = "SELECT status, was_completed, last_completed::date::text, hours, lms_enrollment_id::text FROM department_course_progress"
    user_id = courses.enrollments[COURSE][again]["userId"]
    found = course.query(f"{view} WHERE lms_user_id = %s", (user_id,))
    assert found == [("NotStarted", True, "2026-02-01", Decimal("1.00"), again)]
    course.lms.add_people(3)
    department_sync()
    assert course.query(
        "SELECT count(*) FILTER (WHERE lms_enrollment_id IS NULL), count(*) FROM department_course_progress"
    ) == [(3, 15)]


def test_an_enrollment_that_is_gone_is_a_leaver_of_its_course_alone(course: Sandbox) -> None:
    other = "11111111-2222-4333-8444-555555555555"
    course.lms.courses.enrol(next(iter(course.lms.members)), other)
    course_sync(create_table=True)
    course_sync(course_id=other)
    keys = list(course.lms.courses.enrollments[COURSE])
    course.lms.courses.remove(keys[0])
    report = course_sync(on_departure="mark")["s3_to_rds"]
    assert (report["departed"], report["unchanged"]) == (1, 11)
    assert course.query("SELECT lms_enrollment_id::text FROM course_enrollments WHERE departed_at IS NOT NULL") == [
        (keys[0],)
    ]
    for key in keys[1:5]:
        course.lms.courses.remove(key)
    with pytest.raises(TooManyDepartures, match=rf"course Fire safety.* \({COURSE}\): .* enrollments to have left"):
        course_sync(on_departure="delete")
    [alert] = course.aws.alerts()
    assert alert["Subject"] == "department-members: course-sync failed (TooManyDepartures)"


def test_rows_of_another_course_prove_nothing(course: Sandbox) -> None:
    course.lms.courses.enrol(next(iter(course.lms.members)), courseId="11111111-2222-4333-8444-555555555555")
    with pytest.raises(IncompleteSnapshot, match="expected only enrollments of this course, found 1 of other courses"):
        course_to_s3()
    assert course.aws.objects() == {}


def test_a_passing_fault_is_survived(course: Sandbox) -> None:
    course.lms.inject(faults.status(503, path=f"/courses/{COURSE}/enrollments", times=2))
    assert course_to_s3()["retries"] == 2


def test_an_object_goes_into_its_own_streams_table(course: Sandbox) -> None:
    course_to_s3()
    assert s3_to_rds(key=KEY, create_table=True)["table"] == '"public"."course_enrollments"'
    assert course.query("SELECT to_regclass('department_members')") == [(None,)]
    assert course.query("SELECT stream, scope_id, department_id FROM lms_loads") == [
        ("course-enrollments", COURSE, None)
    ]


@pytest.mark.parametrize(
    ("header", "table"),
    [("lms_user_id,lms_enrollment_id,status", "course_enrollments"), ("lms_user_id,first_name", "department_members")],
)
def test_a_plain_file_is_known_by_its_key(course: Sandbox, header: str, table: str) -> None:
    values = ",".join(["00000000-0000-4000-8000-000000000001"] * (2 if "enrollment" in header else 1) + ["1"])
    course.aws.s3.put_object(Bucket="lms-snapshots", Key="plain.csv", Body=f"{header}\n{values}\n".encode())
    assert s3_to_rds(key="plain.csv", create_table=True)["table"] == f'"public"."{table}"'


def test_a_plain_file_without_any_key_goes_nowhere(course: Sandbox) -> None:
    course.aws.s3.put_object(Bucket="lms-snapshots", Key="plain.csv", Body=b"Lms_User_Id,status\n1,1\n")
    with pytest.raises(ObjectInvalid, match="lms_user_id or lms_enrollment_id.*'Lms_User_Id' is not lms_user_id"):
        s3_to_rds(key="plain.csv", create_table=True)
    assert course.query("SELECT to_regclass('department_members'), to_regclass('course_enrollments')") == [(None, None)]


def test_a_reject_file_of_enrollments_loads_into_their_table(course: Sandbox) -> None:
    bad = course.lms.courses.enrol(next(iter(course.lms.members)), status="unknown")
    report = course_sync(create_table=True)["s3_to_rds"]
    assert (report["inserted"], report["rejected"]) == (12, 1)
    key = report["rejects"].removeprefix("s3://lms-snapshots/")
    corrected = course.aws.objects()[key].replace(b'"unknown"', b'"3"')
    course.aws.s3.put_object(Bucket="lms-snapshots", Key="corrected.csv", Body=corrected)
    assert s3_to_rds(key="corrected.csv")["inserted"] == 1
    assert course.query("SELECT status FROM course_enrollments WHERE lms_enrollment_id = %s", (bad,)) == [(3,)]


def test_a_name_that_is_no_id_is_said_before_anything(course: Sandbox) -> None:
    before = course.lms.sign_ins
    for given in (f"{COURSE},Fire safety", "Fire safety", ","):
        with pytest.raises(ConfigError, match="COURSE_ID"):
            course_to_s3(course_id=given)
    assert course.lms.sign_ins == before


def test_several_courses_are_read_in_one_run_and_an_unknown_one_stops_no_other(course: Sandbox) -> None:
    other, unknown = "11111111-2222-4333-8444-555555555555", DEPARTMENT
    course.lms.courses.enrol(next(iter(course.lms.members)), other)
    before = course.lms.sign_ins
    with pytest.raises(ScopesFailed, match=f"1 of 3 courses failed.*--course-id {unknown} for only these") as failed:
        course_sync(course_id=f"{other},{unknown},{COURSE}", create_table=True)
    assert "ConfigError in fetch_pages" in failed.value.problems[0]
    assert course.lms.sign_ins == before + 1
    assert course.query("SELECT count(*) FROM course_enrollments") == [(13,)]
