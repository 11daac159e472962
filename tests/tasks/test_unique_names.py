"""A name that stands twice in one object: a decoder keeps one value of the two, and no count would miss the other."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError

from sandbox.lms import SimulatedLms
from sandbox.people import DEPARTMENT
from tasks import unique_names
from tasks.errors import ConfigError
from tasks.extract.decode import PageDecoder
from tasks.streams import MEMBERS
from tasks.unique_names import UniqueNames, named_values
from tests.tasks.extract.test_exchange import fetch

BODIES = {
    "of a member": '"firstName":"Ada","firstName":"Eve"',
    "the second one null": '"firstName":"Ada","firstName":null',
    "with an escape": '"firstName":"Ada","first\\u004eame":"Eve"',
    "with spaces": '"firstName" :"Ada","firstName" : "Eve"',
    "a key that is not known": '"new":1,"new":2',
    "of a custom field": '"customFields":{"string1":"a","string1":"b"}',
    "of an object inside": '"contract":{"n":1,"n":2}',
    "of an object in a list": '"contracts":[{"n":1},{"n":1,"n":2}]',
    "an object": '"contract":{"n":1},"contract":{"n":2}',
    "of the same value": '"firstName":"Ada","firstName":"Ada"',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("before", [0, 2_500], ids=["first page", "last page"])
def test_no_value_is_lost_in_silence(lms: SimulatedLms, tmp_path: Path, body: str, before: int) -> None:
    lms.add_people(before)
    lms.add_raw("a", f'{{"id":"a","departmentId":"{DEPARTMENT}",{body}}}'.encode())
    with pytest.raises(ConfigError, match="twice in one object"):
        fetch(tmp_path)


TEXTS = ['says \\"hi\\": twice', "one : two", "\\u0022:", '\\":null', '\\" : ', "{}:[]", "\\\\"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_not_taken_for_a_name(lms: SimulatedLms, tmp_path: Path, text: str) -> None:
    lms.add_raw("a", f'{{"id":"a","departmentId":"{DEPARTMENT}","notes":"{text}"}}'.encode())
    assert fetch(tmp_path).rows == 1


def test_usual_pages_are_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[bytes]()
    monkeypatch.setattr(unique_names, "repeated_name", read.append)
    decoder = PageDecoder(MEMBERS)
    for page in range(5):
        more = b'"offset":1,' if page > 2 else b'"limit":null,'
        decoder.decode(
            b'{%b"totalItems":5,"users":[{"id":"%d","notes":"x : y","n":{"a":[{"b":null}]}}]}' % (more, page)
        )
    assert read == []


def test_a_page_that_is_too_large_to_be_read_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique_names, "MAX_READ_AGAIN", 10)
    with pytest.raises(ValidationError, match="LMS_PAGE_SIZE"):
        PageDecoder(MEMBERS).decode(b'{"totalItems":1,"users":[{"id":"1","id":"2"}]}')


@pytest.mark.parametrize("text", ["\\u0022:", '\\"\\u003a', "\\u0022\\u003A"])
def test_an_escape_in_a_text_hides_no_name(text: str) -> None:
    decoder = PageDecoder(MEMBERS)
    page = '{"totalItems":1,"users":[{"id":"1","notes":"%s"}]}'
    decoder.decode((page % text).encode())
    with pytest.raises(ConfigError, match="'b' twice"):
        decoder.decode((page % (text * 2 + '","b":1,"b":"2')).encode())


names = st.sampled_from(["a", "b", 'c":', " : "])
values = st.recursive(
    st.none() | st.integers() | st.text(alphabet='":, {n\\é'),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(names, inner), max_size=3).map(tuple),
    max_leaves=8,
)
"""A tuple stands for an object: its pairs, names repeated or not."""


def as_json(value: Any, *, ascii_only: bool) -> str:
    if isinstance(value, tuple):
        pairs = (f"{json.dumps(name)}:{as_json(each, ascii_only=ascii_only)}" for name, each in value)
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{','.join(as_json(each, ascii_only=ascii_only) for each in value)}]"
    return json.dumps(value, ensure_ascii=ascii_only)


def loses_one(value: Any) -> bool:
    """Whether a decoder that keeps the last of each name loses a value other than null."""
    if isinstance(value, tuple):
        last = {name: number for number, (name, _) in enumerate(value)}
        lost = any(each is not None and number < last[name] for number, (name, each) in enumerate(value))
        return lost or any(loses_one(each) for _, each in value)
    return isinstance(value, list) and any(map(loses_one, value))


@given(st.lists(st.tuples(values, st.booleans()), min_size=1, max_size=4), st.integers(5, 40))
def test_every_repeated_name_is_found_and_nothing_else(pages: list[tuple[Any, bool]], piece: int) -> None:
    check = UniqueNames()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unique_names, "_PIECE", piece)
        for value, ascii_only in pages:
            body = f'{{"items":[{as_json(value, ascii_only=ascii_only)}]}}'.encode()
            found = check.repeated(body, json.loads(body)["items"])
            assert (found is not None) == loses_one(value)


def test_the_pieces_of_a_body_count_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'[{"a":1,"b":null,"c":{"d":"e : f","g":[1,2]}},{"a":2}]'
    whole = named_values(body)
    for piece in range(1, len(body)):
        monkeypatch.setattr(unique_names, "_PIECE", piece)
        assert named_values(body) == whole == 5
