"""A name that stands twice in one object: a decoder keeps one value of the two, and no count would miss the other."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.lms import SimulatedLms
from sandbox.people import DEPARTMENT
from tasks import repeated_keys
from tasks.errors import ConfigError
from tasks.extract.decode import PageDecoder
from tasks.repeated_keys import count_values, repeated_key
from tasks.streams import MEMBERS
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


def decoded(body: bytes) -> list[Any]:
    items: list[Any] = PageDecoder(MEMBERS).decode(body).items
    return items


def test_usual_pages_are_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[bytes]()
    monkeypatch.setattr(repeated_keys, "first_repeated_key", read.append)
    for more in (b'"offset":1,', b'"limit":null,', b""):
        for text in (b"x : y", b"it\\u0027s", b"\\u0022yes\\u0022"):
            item = b'{"id":"1","notes":"%b","n":{"a":[{"b":null}]}}' % text
            body = b'{%b"totalItems":5,"users":[%b]}' % (more, item)
            assert repeated_key(body, decoded(body)) is None
            assert body not in read


@pytest.mark.parametrize("text", ["\\u0022:", '\\"\\u003a', "\\u0022\\u003A"])
def test_an_escape_in_a_text_hides_no_key(text: str) -> None:
    body = b'{"totalItems":1,"users":[{"id":"1","notes":"%b","b":1,"b":"2"}]}' % text.encode()
    assert repeated_key(body, decoded(body)) == "b"


@pytest.mark.parametrize("next_page", ['"u"', "null", '"a[b"', "[1]", '{"page":{"number":2}}'])
def test_no_envelope_hides_a_key(next_page: str) -> None:
    """The last page, for example, has no link to a next one."""
    body = f'{{"totalItems":1,"next":{next_page},"users":[{{"id":"1","b":1,"b":2}}]}}'.encode()
    assert repeated_key(body, decoded(body)) == "b"
    fine = f'{{"totalItems":1,"next":{next_page},"users":[{{"id":"1","b":1}}],"x]y":1}}'.encode()
    assert repeated_key(fine, decoded(fine)) is None
    repeated = f'{{"totalItems":1,"next":{next_page},"totalItems":1,"users":[{{"id":"1"}}]}}'.encode()
    assert repeated_key(repeated, decoded(repeated)) == "totalItems"


def test_items_without_most_of_the_known_keys_take_no_memory_for_them() -> None:
    decoder = PageDecoder(MEMBERS)
    wide = {"id": "w", **{f"{'k' * 1000}{number}": 1 for number in range(1_400)}}
    decoder.decode(json.dumps({"totalItems": 1, "users": [wide]}).encode())
    body = json.dumps({"totalItems": 300, "users": [{"id": "n"}] * 300}, separators=(",", ":")).encode()
    items = decoder.decode(body).items
    tracemalloc.start()
    try:
        assert repeated_key(body, items) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeated_keys, "_PIECE", piece)
        for value, ascii_only in pages:
            more = '"next":"u",' if len(str(value)) % 2 else '"next":null,'
            body = f'{{{more}"items":[{as_json(value, ascii_only=ascii_only)}]}}'.encode()
            found = repeated_key(body, json.loads(body)["items"])
            assert (found is not None) == loses_one(value)


def test_the_pieces_of_a_body_count_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'[{"a":1,"b":null,"c":{"d":"e : f","g":[1,2]}},{"a":2}]'
    whole = count_values(body)
    for piece in range(1, len(body)):
        monkeypatch.setattr(repeated_keys, "_PIECE", piece)
        assert count_values(body) == whole == 5
