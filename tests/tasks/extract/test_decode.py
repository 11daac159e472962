"""Whatever the shape of an answer: it is right data, or one of our errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sandbox import faults
from sandbox.faults import Answer, Call
from sandbox.lms import SimulatedLms
from sandbox.people import DEPARTMENT, person
from tasks.errors import ConfigError, IncompleteSnapshot, LmsUnavailable
from tasks.extract import retry
from tasks.extract.fetch import RawSnapshot
from tests.tasks.extract.test_exchange import fetch, page_of


def table(raw: RawSnapshot) -> pa.Table:
    [page] = [page for page in raw.files() if page.stem == "page-00000"]
    return pa.ipc.open_file(page).read_all()


@pytest.mark.parametrize("limit", [0, -1, -(2**40), 2**40, None])
def test_a_page_size_that_cannot_be_is_not_believed(lms: SimulatedLms, tmp_path: Path, limit: int | None) -> None:
    lms.add_people(3)
    lms.inject(faults.envelope(lambda content: content.update(limit=limit)))
    assert fetch(tmp_path).rows == 3


def deep(before: str, after: str, depth: int) -> bytes:
    return f'{{"totalItems":1,"users":[{{"id":"a","x":{before * depth}1{after * depth}}}]}}'.encode()


@pytest.mark.parametrize("body", [deep("[", "]", 100_000), deep('{"a":', "}", 700), deep('[{"b":', "}]", 900), b"[" * 1_000_000,
                                  b'{"users":' * 5_000], ids=["lists", "objects", "both", "no end", "envelopes"])  # fmt: skip
def test_very_deep_nesting_is_an_error_of_ours(lms: SimulatedLms, tmp_path: Path, body: bytes) -> None:
    lms.inject(faults.status(200, body, times=None))
    with pytest.raises(IncompleteSnapshot):
        fetch(tmp_path)


@pytest.mark.parametrize(
    "token", [b"[" * 100_000, b'"a\\nb"', b'""', b'{"a":1}', b'"' + b"x" * 100_000 + b'"', b'"\xc3\xa9"', b"7"]
)
def test_a_token_that_no_header_can_carry_is_no_token(
    lms: SimulatedLms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: bytes
) -> None:
    monkeypatch.setattr(retry, "MAX_TRIES", 2)
    lms.inject(faults.status(200, token, path="/authenticate", times=None))
    with pytest.raises(LmsUnavailable, match="POST /authenticate"):
        fetch(tmp_path)


SECRETS: list[Any] = [
    {"password": {"value": "hunter"}},
    {"contract": {"password": "hunter", "n": 1}},
    {"contract": {"deep": [{"list": [{"PassWord": "hunter"}]}]}},
    {"logins": [{"password": "hunter"}, 1]},
    {"customFields": {"password": "hunter", "string1": "kept"}},
    {"customFields": {"string1": {"Password": ["hunter"]}}},
    {"PASSWORD": "hunter"},
]


@pytest.mark.parametrize("more", SECRETS, ids=map(str, SECRETS))
def test_a_password_stays_out_wherever_it_stands(lms: SimulatedLms, tmp_path: Path, more: dict[str, Any]) -> None:
    lms.add({**person(1), **more})
    lms.add({**person(2)})
    assert all(b"hunter" not in page.read_bytes() for page in fetch(tmp_path).files())


def test_a_password_whose_key_is_written_in_escapes_stays_out(lms: SimulatedLms, tmp_path: Path) -> None:
    lms.add_raw("a", b'{"id":"a","departmentId":"%b","x":{"p\\u0061ssword":"hunter"}}' % DEPARTMENT.encode())
    assert all(b"hunter" not in page.read_bytes() for page in fetch(tmp_path).files())


TWO_KEYS: list[dict[str, Any]] = [
    {"a.b": "1", "a": {"b": "2"}},
    {"a": {"b.c": "1", "b": {"c": "2"}}},
    {"x": {"y": {"z": 1}, "y.z": None}},
]


@pytest.mark.parametrize("keys", TWO_KEYS, ids=map(str, TWO_KEYS))
def test_two_keys_that_become_one_column_lose_no_value_in_silence(
    lms: SimulatedLms, tmp_path: Path, keys: dict[str, Any]
) -> None:
    lms.add({**person(1), **keys})
    with pytest.raises(ConfigError, match="would both become the column"):
        fetch(tmp_path)


NUMBERS = ["-0", "-0.0", "0", "-1", "1e400", "-0e5", "123456789012345678901234567890", "0.10", "1E+2", "-10"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_keeps_its_own_digits_wherever_it_stands(lms: SimulatedLms, tmp_path: Path, number: str) -> None:
    lms.add_raw(
        "a",
        f'{{"id":"a","departmentId":"{DEPARTMENT}","n":{number},"l":[{number}, {number} ],"o":{{"i":{number}}},"t":"x:{number},",'
        f'"customFields":{{"decimal1":{number}}}}}'.encode(),
    )
    found = table(fetch(tmp_path)).to_pylist()[0]
    assert [found[key] for key in ("n", "l", "o.i", "t", "customFields")] == [
        number, f"[{number},{number}]", number, f"x:{number},", f'{{"decimal1":{number}}}'
    ]  # fmt: skip


ODD: dict[str, Callable[[Call], Answer]] = {
    "a total as text": lambda call: Answer(200, page_of({"id": "a"}, totalItems="1")),
    "a total beyond 64 bits": lambda call: Answer(200, page_of({"id": "a"}, totalItems=10**400)),
    "a null member": lambda call: Answer(200, page_of(None)),
    "an id that is null": lambda call: Answer(200, page_of({"id": None})),
    "customFields as a list": lambda call: Answer(200, page_of({"id": "a", "customFields": []})),
    "a key with a line break": lambda call: Answer(200, page_of({"id": "a", "x\n": 1})),
    "a list": lambda call: Answer(200, b"[" + page_of({"id": "a"}) + b"]"),
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD.keys())
def test_an_answer_of_odd_shape_is_an_error_of_ours(
    lms: SimulatedLms, tmp_path: Path, answer: Callable[[Call], Answer]
) -> None:
    lms.inject(faults.on(answer, times=None))
    with pytest.raises(IncompleteSnapshot):
        fetch(tmp_path)
