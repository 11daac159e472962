"""A complete snapshot, or none."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sandbox import faults
from sandbox.lms import SimulatedLms
from sandbox.people import DEPARTMENT, person
from tasks.errors import AuthError, IncompleteSnapshot, LmsUnavailable, PipelineError
from tasks.extract.fetch import RawSnapshot, authenticate, fetch_pages
from tasks.extract.pages import replace_surrogates
from tasks.streams import MEMBERS, Scope

OTHER = "00000000-0000-4000-8000-00000000000b"


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS_PAGE_SIZE", "20")


def fetch(folder: Path, **options: Any) -> RawSnapshot:
    with authenticate.fn(None) as session:
        return fetch_pages.fn(session, Scope(MEMBERS, DEPARTMENT), folder, **options)


def ids(raw: RawSnapshot) -> list[str]:
    return [
        member_id.lower() for page in raw.files() for member_id in pa.ipc.open_file(page).read_all()["id"].to_pylist()
    ]


def test_every_member_of_every_page_arrives(lms: SimulatedLms, tmp_path: Path) -> None:
    expected = lms.add_people(101)
    lms.add_people(30, OTHER)
    raw = fetch(tmp_path)
    assert sorted(ids(raw)) == sorted(expected)
    assert (raw.rows, raw.pages, raw.sweeps, raw.sign_ins, raw.retries) == (101, 6, 1, 1, 0)


def test_each_page_is_asked_for_once_and_so_is_the_end_behind_a_full_one(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(60)
    fetch(tmp_path)
    assert sorted(page for _, path, page, _ in lms.requests if path == "/users" and page is not None) == [0, 1, 2, 3]


def test_pages_are_read_together_and_never_more_than_allowed(
    lms: SimulatedLms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMS_MAX_CONNECTIONS", "3")
    lms.add_people(400)
    lms.latency_s = 0.03
    fetch(tmp_path)
    assert lms.most_in_flight == 3


def test_an_empty_department_is_complete(lms: SimulatedLms, tmp_path: Path) -> None:
    assert fetch(tmp_path).rows == 0


def test_raw_pages_are_for_this_user_alone(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(21)
    assert {page.stat().st_mode & 0o777 for page in fetch(tmp_path).files()} == {0o600}


def test_a_user_who_joins_between_pages_leads_to_another_sweep(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(60)
    lms.inject(faults.before(lambda: lms.add_people(1), page=2))
    raw = fetch(tmp_path)
    assert (raw.sweeps, len(set(ids(raw)))) == (2, 61)


def test_a_user_who_leaves_between_pages_leads_to_another_sweep(lms: SimulatedLms, tmp_path: Path) -> None:
    members = lms.add_people(61)
    lms.inject(faults.before(lambda: lms.remove(members[0]), page=1))
    raw = fetch(tmp_path)
    assert (raw.sweeps, len(set(ids(raw)))) == (2, 60)


@pytest.mark.parametrize("username", ["aaa", "zzz"])
def test_a_user_renamed_between_pages_leads_to_another_sweep(
    lms: SimulatedLms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, username: str
) -> None:
    monkeypatch.setenv("LMS_MAX_CONNECTIONS", "1")
    members = lms.add_people(80)
    renamed = members[-1] if username == "aaa" else members[0]
    lms.inject(faults.before(lambda: lms.edit(renamed, username=username), page=2))
    raw = fetch(tmp_path)
    assert (raw.sweeps, len(set(ids(raw)))) == (2, 80)


def test_a_department_that_never_stands_still_publishes_nothing(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(60)
    lms.inject(faults.before(lambda: lms.add_people(1), page=1, times=None))
    with pytest.raises(
        IncompleteSnapshot, match="expected the same total on every page, found 6.*on the last of 3 attempts"
    ):
        fetch(tmp_path)


def test_a_page_cut_short_in_the_middle_publishes_nothing(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(60)
    lms.inject(faults.short_page(7, page=1))
    with pytest.raises(IncompleteSnapshot, match="expected 60 distinct ids, found 47"):
        fetch(tmp_path)


def test_a_page_that_contradicts_itself_leads_to_another_sweep(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(60)
    lms.inject(faults.envelope(lambda content: content["users"].pop(), page=0, times=1))
    assert fetch(tmp_path).sweeps == 2


def test_a_capped_page_that_is_announced_is_followed(lms: SimulatedLms, tmp_path: Path) -> None:
    expected = lms.add_people(60)
    lms.page_cap = 7
    raw = fetch(tmp_path)
    assert (raw.pages, sorted(ids(raw))) == (9, sorted(expected))


def test_a_capped_page_that_is_not_announced_publishes_nothing(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(60)
    lms.page_cap, lms.announce_cap = 7, False
    with pytest.raises(IncompleteSnapshot, match="expected 20 of 60 members, found 7.*LMS_PAGE_SIZE"):
        fetch(tmp_path)


@pytest.mark.parametrize("by", [-1, 1, 40, -40])
def test_a_total_that_lies_publishes_nothing(lms: SimulatedLms, tmp_path: Path, by: int) -> None:
    lms.add_people(60)
    lms.inject(faults.wrong_total(by))
    with pytest.raises(IncompleteSnapshot):
        fetch(tmp_path)


def test_a_total_that_shrinks_on_a_later_page_leads_to_another_sweep(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(60)
    lms.inject(faults.wrong_total(-1, page=2, times=1))
    assert fetch(tmp_path).sweeps == 2


@pytest.mark.parametrize("name", ["totalItems", "users"])
def test_an_envelope_without_its_parts_publishes_nothing(lms: SimulatedLms, tmp_path: Path, name: str) -> None:
    lms.add_people(60)
    lms.inject(faults.without(name, page=1))
    with pytest.raises(IncompleteSnapshot, match=f"page 1.*{name}"):
        fetch(tmp_path)


ODD = [b"[]", b"null", b'{"message":"An error has occurred."}', b'{"users":[{"name":"x"}],"totalItems":1}', b'"text"']


@pytest.mark.parametrize("body", ODD)
@pytest.mark.parametrize("times", [1, None])
def test_whole_json_of_another_shape_is_asked_for_again_and_ends_the_run_if_it_stays(
    lms: SimulatedLms, tmp_path: Path, body: bytes, times: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.extract.fetch.jitter", lambda low, high: 0.0)
    lms.add_people(5)
    lms.inject(faults.status(200, body, times=times))
    if times == 1:
        assert fetch(tmp_path).rows == 5
        return
    with pytest.raises(IncompleteSnapshot, match="expected a response with `totalItems`"):
        fetch(tmp_path)
    assert len(lms.requests) == 4


@pytest.mark.parametrize("other", ["{%s}", "%s ", "(%s)"])
def test_a_guid_in_two_forms_is_one_id(lms: SimulatedLms, tmp_path: Path, other: str) -> None:
    [first, second] = lms.add_people(2)
    lms.add_raw(second, b'{"id":"%s","departmentId":"%s"}' % ((other % first).encode(), DEPARTMENT.encode()))
    with pytest.raises(IncompleteSnapshot, match="expected 2 distinct ids, found 1"):
        fetch(tmp_path)


def test_members_of_another_department_publish_nothing(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(10)
    lms.inject(faults.envelope(lambda content: content["users"][3].update(departmentId=OTHER)))
    with pytest.raises(IncompleteSnapshot, match="found 1 of other departments"):
        fetch(tmp_path)
    assert fetch(tmp_path, include_foreign=True).foreign_rows == 1


def test_one_page_that_cannot_be_read_ends_the_fetch(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_people(200)
    lms.inject(faults.status(503, page=4, times=None))
    with pytest.raises(LmsUnavailable, match="page 4"):
        fetch(tmp_path)


@pytest.mark.parametrize("thefts", [1, 3])
def test_stolen_sessions_cost_a_handful_of_sign_ins_and_no_member(
    lms: SimulatedLms, tmp_path: Path, thefts: int
) -> None:
    expected = lms.add_people(400)
    for number in range(thefts):
        lms.inject(faults.steal_session(after=4 + 5 * number))
    raw = fetch(tmp_path)
    assert sorted(ids(raw)) == sorted(expected)
    assert 2 <= raw.sign_ins <= 1 + thefts * 2


def test_transient_401s_under_eight_connections_lose_nobody(lms: SimulatedLms, tmp_path: Path) -> None:
    expected = lms.add_people(400)
    lms.inject(faults.transient_401(after=2, times=6))
    raw = fetch(tmp_path)
    assert sorted(ids(raw)) == sorted(expected)
    assert raw.sign_ins <= 4


def test_two_runs_with_one_account_both_end_well(lms: SimulatedLms, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    expected = sorted(lms.add_people(300))
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(fetch, folders))
    assert [sorted(ids(raw)) for raw in found] == [expected, expected]
    assert all(raw.sign_ins <= 11 for raw in found)


def test_a_password_never_leaves_the_fetch(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add({**person(1), "password": "hunter2", "Password": "hunter3"})
    assert all(b"hunter" not in page.read_bytes() for page in fetch(tmp_path).files())


@pytest.mark.parametrize(
    ("body", "replaced", "count"),
    [
        (rb'"\ud800"', rb'"\ufffd"', 1),
        (rb'"\uDFFF\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"', 1),
        (rb'"\\ud800"', rb'"\\ud800"', 0),  # an escaped backslash, then letters
        (rb'"\\\ud800"', rb'"\\\ufffd"', 1),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"', 1),
    ],
)
def test_only_lone_surrogates_are_replaced(body: bytes, replaced: bytes, count: int) -> None:
    assert replace_surrogates(body) == (replaced, count)


def test_a_wrong_password_ends_the_run_before_any_page(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.password = "another"
    with pytest.raises(AuthError):
        fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_message_holds_a_persons_data(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add({**person(1), "firstName": "Marker-Person"})
    lms.inject(faults.envelope(lambda content: content["users"][0].update(id=7)))
    with pytest.raises(PipelineError) as caught:
        fetch(tmp_path)
    assert "Marker-Person" not in str(caught.value)
