"""The session with the LMS: one token, and every way a server can fail."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec
import pytest

from blocks.lms import LmsAccount
from sandbox import faults
from sandbox.faults import Answer, Call, Fault
from sandbox.lms import SimulatedLms
from sandbox.people import DEPARTMENT
from tasks.errors import AuthError, ConfigError, LmsUnavailable, PipelineError
from tasks.extract import retry
from tasks.extract import session as client
from tasks.extract.session import LmsSession


def account(lms: SimulatedLms, **changes: object) -> LmsAccount:
    names = lms.environment()
    values = {
        "rest_api_url": lms.url,
        "username": names["LMS_USERNAME"],
        "password": names["LMS_PASSWORD"],
        "private_key": names["LMS_PRIVATE_KEY"],
    }
    return LmsAccount.model_validate({**values, **changes})


def session(lms: SimulatedLms) -> LmsSession:
    signed_in = LmsSession(account(lms))
    signed_in.sign_in()
    return signed_in


def read(signed_in: LmsSession, page: int = 0) -> int:
    params = {"_filter": f"departmentId eq guid'{DEPARTMENT}'", "_limit": 100, "_offset": page}
    return len(signed_in.get("/users", params, msgspec.json.decode, f"page {page}")["users"])


def test_a_run_signs_in_once(lms: SimulatedLms) -> None:
    lms.add_people(250)
    signed_in = session(lms)
    assert [read(signed_in, page) for page in range(3)] == [100, 100, 50]
    assert lms.sign_ins == signed_in.sign_ins == 1


def test_the_session_shows_no_token_and_no_password(lms: SimulatedLms) -> None:
    signed_in = session(lms)
    shown = f"{signed_in!r} {signed_in} {signed_in.account!r} {signed_in.account}"
    assert lms._token not in shown
    assert lms.password not in shown


def test_a_wrong_password_is_tried_once(lms: SimulatedLms) -> None:
    lms.password = "another"
    with pytest.raises(AuthError, match="LMS_PASSWORD"):
        session(lms)
    assert len(lms.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_sign_in_is_an_auth_error_whatever_its_status(lms: SimulatedLms, status: int) -> None:
    lms.inject(faults.status(status, path="/authenticate"))
    with pytest.raises(AuthError, match=str(status)):
        session(lms)


def test_a_key_of_spaces_and_letters_beyond_ascii_goes_over_the_wire(lms: SimulatedLms) -> None:
    with pytest.raises(AuthError):
        LmsSession(account(lms, private_key="clé 1 — 鍵")).sign_in()
    assert lms.requests == [("POST", "/authenticate", None, 403)]


SURVIVED: dict[str, Callable[..., Fault]] = {
    "429": lambda **when: faults.status(429, **when),
    "500": lambda **when: faults.status(500, **when),
    "502": lambda **when: faults.status(502, b"<html>bad gateway</html>", **when),
    "503": lambda **when: faults.status(503, **when),
    "504": lambda **when: faults.status(504, b"", **when),
    "408": lambda **when: faults.status(408, **when),
    "425": lambda **when: faults.status(425, **when),
    "202": lambda **when: faults.status(202, b"{}", **when),
    "204": lambda **when: faults.status(204, b"", **when),
    "a redirect to a page of maintenance": lambda **when: faults.status(302, b"", {"Location": "/away"}, **when),
    "a chunked body cut between its chunks": lambda **when: faults.chunks(b'5\r\n{"tot\r\n', **when),
    "a chunk whose size is none": lambda **when: faults.chunks(b"zz\r\n{}\r\n", **when),
    "two lengths of one body": lambda **when: faults.status(200, b"{}", {"Content-Length": "2, 3"}, **when),
    "a redirect to no address": lambda **when: faults.status(302, b"", {"Location": "http://[::1"}, **when),
    "501": lambda **when: faults.status(501, **when),
    "Retry-After in seconds": lambda **when: faults.status(429, headers={"Retry-After": "0.01"}, **when),
    "Retry-After in the past": lambda **when: faults.status(
        503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, **when
    ),
    "Retry-After that is nonsense": lambda **when: faults.status(503, headers={"Retry-After": "soon"}, **when),
    "a cut connection": lambda **when: faults.cut_connection(**when),
    "a body cut by the connection": lambda **when: faults.cut_connection(sent=400, **when),
    "cut JSON": lambda **when: faults.cut_json(**when),
    "HTML with status 200": lambda **when: faults.html(**when),
    "an empty body": lambda **when: faults.status(200, b"", **when),
    "bytes that are not UTF-8": lambda **when: faults.status(200, b'{"users":["\xff"]}', **when),
    "a transient 401": lambda **when: faults.transient_401(**when),
}


@pytest.mark.parametrize("fault", SURVIVED.values(), ids=SURVIVED.keys())
def test_a_passing_fault_is_survived_with_the_right_data(lms: SimulatedLms, fault: Callable[..., Fault]) -> None:
    lms.add_people(40)
    signed_in = session(lms)
    lms.inject(fault(times=1))
    assert read(signed_in) == 40
    assert (signed_in.retries, signed_in.sign_ins) == (1, 1)


@pytest.mark.parametrize("fault", SURVIVED.values(), ids=SURVIVED.keys())
def test_a_fault_that_stays_ends_the_run_in_bounded_tries(lms: SimulatedLms, fault: Callable[..., Fault]) -> None:
    lms.add_people(40)
    signed_in = session(lms)
    lms.inject(fault(times=None))
    with pytest.raises((LmsUnavailable, AuthError)):
        read(signed_in)
    assert len(lms.requests) <= 1 + retry.MAX_TRIES + client.MAX_SIGN_INS_PER_PAGE


@pytest.mark.parametrize(
    "before", [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"]
)
def test_what_comes_before_the_answer_is_not_taken_for_it(lms: SimulatedLms, before: bytes) -> None:
    lms.add_people(40)
    signed_in = session(lms)

    def hint(call: Call) -> Answer:
        answer = call.answer()
        answer.before = before + before
        return answer

    lms.inject(faults.on(hint))
    assert (read(signed_in), signed_in.retries) == (40, 0)


REFUSED: dict[int, type[PipelineError]] = {
    301: ConfigError,
    308: ConfigError,
    400: ConfigError,
    403: AuthError,
    404: ConfigError,
    418: ConfigError,
    422: ConfigError,
}


@pytest.mark.parametrize(("status", "error"), REFUSED.items())
def test_what_no_repetition_cures_is_not_repeated(lms: SimulatedLms, status: int, error: type[PipelineError]) -> None:
    signed_in = session(lms)
    headers = {"Location": "/my-details"}
    lms.inject(faults.status(status, b'{"message":"Ada Lovelace is not here"}', headers, times=None))
    with pytest.raises(error) as caught:
        read(signed_in)
    assert len(lms.requests) == 2
    assert "Lovelace" not in str(caught.value)


def test_a_wrong_path_is_told_apart_from_a_wrong_key(lms: SimulatedLms) -> None:
    wrong = LmsSession(account(lms, rest_api_url=lms.url + "/api/rest/v2"))
    with pytest.raises(AuthError):  # the gateway answers 403 to any path it does not know
        wrong.sign_in()
    signed_in = session(lms)
    with pytest.raises(ConfigError, match="REST_API_URL"):
        signed_in.get("/people", {}, msgspec.json.decode, "people")


def test_a_server_that_hangs_ends_the_run_in_bounded_time(lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT_S", (0.1, 0.1))
    monkeypatch.setattr(retry, "MAX_ELAPSED_S", 0.5)
    signed_in = session(lms)
    lms.inject(faults.delay(0.6, times=None))
    began = time.monotonic()
    with pytest.raises(LmsUnavailable, match="no answer in time"):
        read(signed_in)
    assert time.monotonic() - began < 5


def test_after_a_page_that_was_given_up_a_server_that_still_hangs_is_tried_once(
    lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT_S", (0.2, 0.2))
    monkeypatch.setattr(retry, "MAX_ELAPSED_S", 0.3)
    monkeypatch.setattr(retry, "MAX_ELAPSED_IN_DOUBT_S", 0.1)
    signed_in = session(lms)
    lms.inject(faults.delay(1, times=3))
    for tries in (2, 1):
        with pytest.raises(LmsUnavailable, match=f"after {tries} tries"):
            read(signed_in)
    lms.faults[:] = [faults.status(503, times=1)]  # a fault that passes is still retried
    assert read(signed_in) == 0
    lms.inject(faults.delay(1, times=2))
    with pytest.raises(LmsUnavailable, match="after 2 tries"):  # it has answered since
        read(signed_in)


def test_an_lms_that_is_not_there_is_unavailable(lms: SimulatedLms) -> None:
    gone = LmsSession(account(lms, rest_api_url="http://127.0.0.1:9"))
    with pytest.raises(LmsUnavailable, match="expected a usable answer within 8 tries"):
        gone.sign_in()


def test_a_token_that_dies_is_renewed_and_the_same_page_read_again(lms: SimulatedLms) -> None:
    lms.add_people(40)
    signed_in = session(lms)
    lms.steal_session()
    assert read(signed_in) == 40
    assert signed_in.sign_ins == 2


def test_a_token_that_another_page_renewed_is_adopted(lms: SimulatedLms) -> None:
    lms.add_people(40)
    signed_in = session(lms)
    old = signed_in._token
    lms.steal_session()
    signed_in._renew(old)
    signed_in._renew(old)  # the second page to see the dead token finds a newer one
    assert signed_in.sign_ins == 2


def test_an_account_that_is_stolen_without_end_ends_the_run(lms: SimulatedLms) -> None:
    signed_in = session(lms)
    lms.inject(faults.steal_session(times=None))
    with pytest.raises(AuthError, match="[gG]ive the pipeline its own account"):
        read(signed_in)
    assert signed_in.sign_ins <= 1 + client.MAX_SIGN_INS_PER_PAGE


def test_no_more_sign_ins_than_allowed_in_a_run(lms: SimulatedLms) -> None:
    signed_in = session(lms)
    signed_in.sign_ins = client.MAX_SIGN_INS_A_RUN + 1
    lms.steal_session()
    with pytest.raises(AuthError, match="10 times"):
        read(signed_in)


@pytest.mark.parametrize(
    "header",
    ["0", "0.0", "-30", "Wed, 21 Oct 2015 07:28:00 GMT", format_datetime(datetime.now(UTC), usegmt=True)],
    ids=["zero", "a zero with a fraction", "negative", "long ago", "now"],  # workers must collect the same names
)
def test_retry_after_never_shortens_a_wait(lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    waits: list[float] = []
    monkeypatch.setattr("tasks.extract.retry.jitter", lambda low, high: high)
    signed_in = session(lms)
    monkeypatch.setattr(signed_in.stop, "wait", waits.append)
    lms.inject(faults.status(503, headers={"Retry-After": header}, times=None))
    with pytest.raises(LmsUnavailable):
        read(signed_in)
    assert waits == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]


def test_retry_after_lengthens_a_wait(lms: SimulatedLms, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    signed_in = session(lms)
    monkeypatch.setattr(signed_in.stop, "wait", waits.append)
    lms.inject(faults.status(503, headers={"Retry-After": "7"}, times=2))
    read(signed_in)
    assert waits == [7.0, 7.0]


@pytest.mark.parametrize("url", ["http://rest.myabsorb.com", "rest.myabsorb.com", "https://u:p@rest.myabsorb.com", ""])
def test_only_https_or_loopback_is_accepted(lms: SimulatedLms, url: str) -> None:
    with pytest.raises(ValueError, match="rest_api_url"):
        account(lms, rest_api_url=url)
