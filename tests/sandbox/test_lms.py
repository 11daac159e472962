"""The simulated LMS has the real one's habits."""

from typing import Any

import pytest
import requests

from sandbox import faults
from sandbox.lms import PASSWORD, PRIVATE_KEY, USERNAME, SimulatedLms
from sandbox.people import DEPARTMENT

KEY = {"x-api-key": PRIVATE_KEY}
FILTER = f"departmentId eq guid'{DEPARTMENT}'"


def sign_in(lms: SimulatedLms, **changes: str) -> requests.Response:
    body = {"username": USERNAME, "password": PASSWORD, "privateKey": PRIVATE_KEY, **changes}
    return requests.post(lms.url + "/authenticate", json=body, headers=KEY, timeout=5)


def users(lms: SimulatedLms, token: str, **query: Any) -> requests.Response:
    headers = {**KEY, "Authorization": f"Bearer {token}"}
    return requests.get(lms.url + "/users", params={"_filter": FILTER, **query}, headers=headers, timeout=5)


@pytest.fixture
def token(lms: SimulatedLms) -> str:
    lms.add_people(45)
    return str(sign_in(lms).json())


def test_a_new_sign_in_ends_the_former_session(lms: SimulatedLms, token: str) -> None:
    newer = sign_in(lms).json()
    assert (users(lms, token).status_code, users(lms, newer).status_code) == (401, 200)


def test_the_offset_is_a_page_number_and_a_page_has_twenty(lms: SimulatedLms, token: str) -> None:
    pages = [users(lms, token, _offset=page).json() for page in range(4)]
    assert [page["returnedItems"] for page in pages] == [20, 20, 5, 0]
    assert {page["totalItems"] for page in pages} == {45}
    names = [user["username"] for page in pages for user in page["users"]]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "query", [{"_limit": 1001}, {"_limit": 0}, {"_offset": -1}, {"_filter": f"departmentId eq '{DEPARTMENT}'"}]
)
def test_what_it_cannot_process_is_422(lms: SimulatedLms, token: str, query: dict[str, Any]) -> None:
    assert users(lms, token, **query).status_code == 422


def test_the_department_matches_in_any_case_and_others_do_not(lms: SimulatedLms, token: str) -> None:
    assert users(lms, token, _filter=FILTER.replace(DEPARTMENT, DEPARTMENT.upper())).json()["totalItems"] == 45
    other = FILTER.replace(DEPARTMENT, "00000000-0000-4000-8000-000000000000")
    assert users(lms, token, _filter=other).json()["totalItems"] == 0


def test_wrong_keys_passwords_and_paths_are_refused_in_their_own_ways(lms: SimulatedLms, token: str) -> None:
    assert sign_in(lms, password="wrong").status_code == 401
    assert sign_in(lms, password="").status_code == 400
    assert requests.get(lms.url + "/users", timeout=5).status_code == 403
    headers = {**KEY, "Authorization": f"Bearer {token}"}
    assert "equal-sign" in requests.get(lms.url + "/v2/users", headers=headers, timeout=5).text


def test_numbers_go_over_the_wire_digit_by_digit(lms: SimulatedLms, token: str) -> None:
    assert '"decimal1":8675309.00' in users(lms, token).text


def test_a_fault_strikes_as_often_as_it_was_told(lms: SimulatedLms, token: str) -> None:
    lms.inject(faults.status(503, times=2, after=1))
    assert [users(lms, token).status_code for _ in range(4)] == [200, 503, 503, 200]


def test_a_cut_connection_is_one(lms: SimulatedLms, token: str) -> None:
    lms.inject(faults.cut_connection(sent=10))
    with pytest.raises(requests.exceptions.RequestException):
        users(lms, token)
