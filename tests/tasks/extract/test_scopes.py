"""Which departments or courses a run reads: whatever one of them, or the list of them, looks like."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox import faults
from sandbox.faults import Answer, Call
from sandbox.lms import SimulatedLms
from sandbox.people import DEPARTMENT, department
from tasks.credentials import lms_account
from tasks.errors import ConfigError, IncompleteSnapshot
from tasks.extract import scopes as scopes_module
from tasks.extract.scopes import Listed, list_scopes
from tasks.extract.session import LmsSession
from tasks.streams import ENROLLMENTS, MEMBERS, Scope

ELSEWHERE = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def session(lms: SimulatedLms) -> Iterator[LmsSession]:
    with LmsSession(lms_account(None)) as made:
        made.sign_in()
        yield made


@pytest.fixture
def wards(lms: SimulatedLms) -> dict[str, str]:
    return {name: lms.add_department(name, DEPARTMENT) for name in ("A", "B", "C", "D")}


def below(session: LmsSession, *ids: str) -> Listed:
    return list_scopes.fn(session, tuple(Scope(MEMBERS, each) for each in ids or (DEPARTMENT,)), expand=True)


def labels(listed: Listed) -> list[str]:
    return [scope.label for scope in listed.scopes]


def changed(change: Callable[[dict[str, Any], int], None]) -> Callable[[Call], Answer | None]:
    """A fault that changes the list's pages, given with their number from 0, counted over the whole test."""
    seen = iter(range(1000))

    def fault(call: Call) -> Answer | None:
        if call.path != "/departments":
            return None
        answer = call.answer()
        content = json.loads(answer.body)
        change(content, next(seen))
        return Answer(answer.status, json.dumps(content).encode())

    return fault


def test_an_unknown_one_among_others_is_a_failure_of_its_own(session: LmsSession, wards: dict[str, str]) -> None:
    listed = below(session, wards["A"], ELSEWHERE)
    assert labels(listed) == ["A"]
    [(scope, error)] = listed.unreadable
    assert scope.id == ELSEWHERE and "not found among the 5 departments" in error.message and error.of_one_scope
    with pytest.raises(ConfigError, match=ELSEWHERE):
        below(session, ELSEWHERE)


def test_one_that_is_listed_twice_counts_once(lms: SimulatedLms, session: LmsSession, wards: dict[str, str]) -> None:
    lms.departments["again"] = dict(lms.departments[wards["B"]])
    assert labels(below(session)) == ["Sandbox", "A", "B", "C", "D"]


@pytest.mark.parametrize("odd", ["", "a/b", "../x", "é", "x" * 500])
def test_an_id_that_is_none_is_a_failure_of_its_own(
    lms: SimulatedLms, session: LmsSession, wards: dict[str, str], odd: str
) -> None:
    lms.departments["odd"] = department("Odd", DEPARTMENT, odd)
    listed = below(session)
    assert labels(listed) == ["Sandbox", "A", "B", "C", "D"]
    [(scope, error)] = listed.unreadable
    assert scope.name == "Odd" and "its id is not a GUID" in error.message and len(error.message) < 500


def test_a_list_that_moves_between_two_pages_is_read_again(
    lms: SimulatedLms, session: LmsSession, wards: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scopes_module, "PAGE_SIZE", 3)
    doomed = lms.add_department("Doomed", DEPARTMENT)
    lms.departments = {doomed: lms.departments.pop(doomed), **lms.departments}

    def fault(call: Call) -> Answer | None:
        if call.path != "/departments":
            return None
        answer = call.answer()
        lms.departments.pop(doomed, None)
        return answer

    lms.inject(fault)
    assert labels(below(session)) == ["Sandbox", "A", "B", "C", "D"]


def test_one_that_takes_anothers_place_between_two_pages_hides_nobody(
    lms: SimulatedLms, session: LmsSession, wards: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scopes_module, "PAGE_SIZE", 3)

    def change(content: dict[str, Any], number: int) -> None:
        if number == 1:  # the second page of the first reading begins with the last entry of the first page
            content["departments"][0] = dict(lms.departments[wards["B"]])

    lms.inject(changed(change))
    assert labels(below(session)) == ["Sandbox", "A", "B", "C", "D"]


@pytest.mark.parametrize("total", [-1, 0, 3, 6, 1 << 40])
def test_a_total_that_is_wrong_is_not_believed(
    lms: SimulatedLms, session: LmsSession, wards: dict[str, str], monkeypatch: pytest.MonkeyPatch, total: int
) -> None:
    monkeypatch.setattr(scopes_module, "PAGE_SIZE", 3)
    lms.inject(changed(lambda content, _: content.update(totalItems=total)))
    with pytest.raises(IncompleteSnapshot, match=f"expected {total} entries, as it says, found 5"):
        below(session)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Sales \ud83d", "Sales \ufffd"), (5, ""), (None, ""), ({"a": 1}, ""), ("a" * 500, "a" * 79 + "…")],
)
def test_no_run_fails_for_a_name(
    lms: SimulatedLms, session: LmsSession, wards: dict[str, str], name: Any, shown: str
) -> None:
    lms.departments[wards["A"]]["name"] = name
    [found] = below(session, wards["A"]).scopes
    assert found.name == shown
    [alone] = list_scopes.fn(session, (Scope(MEMBERS, wards["A"]),)).scopes
    assert alone.name == shown


def test_names_cost_no_sign_in_and_a_refusal_is_asked_for_once(lms: SimulatedLms, session: LmsSession) -> None:
    lms.inject(faults.transient_401(path="/departments", times=None))
    courses = tuple(Scope(ENROLLMENTS, f"00000000-0000-4000-8000-00000000000{n}") for n in range(6))
    for course in courses:
        lms.inject(faults.transient_401(path=f"/courses/{course.id}", times=None))
    asked = len(lms.requests)
    assert list_scopes.fn(session, courses).scopes == courses
    assert list_scopes.fn(session, tuple(Scope(MEMBERS, each.id) for each in courses)).seen is None
    assert session.sign_ins == 1
    assert len(lms.requests) - asked == 4  # each token is tried twice, since refusals can pass


def test_an_lms_that_is_away_is_asked_for_one_name_once(lms: SimulatedLms, session: LmsSession) -> None:
    courses = tuple(Scope(ENROLLMENTS, f"00000000-0000-4000-8000-00000000000{n}") for n in range(6))
    for course in courses:
        lms.inject(faults.status(503, headers={"Retry-After": "30"}, path=f"/courses/{course.id}", times=None))
    asked = len(lms.requests)
    listed = list_scopes.fn(session, courses)
    assert listed.was_unavailable and len(lms.requests) - asked == 1


def test_one_course_that_is_not_there_leaves_the_others_their_names(lms: SimulatedLms, session: LmsSession) -> None:
    there = f"00000000-0000-4000-8000-00000000000{1}"
    lms.courses.enrol(lms.add_people(1)[0], there)
    listed = list_scopes.fn(session, (Scope(ENROLLMENTS, ELSEWHERE), Scope(ENROLLMENTS, there)))
    assert [bool(scope.name) for scope in listed.scopes] == [False, True]
