"""What another thread reads ahead: the same items, in order, its errors at their place, and no thread left."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.errors import ObjectInvalid
from tasks.load.hashed_file import Ahead, HashedFile


def reading_ahead() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_items_come_in_order_and_the_thread_ends_with_them(most: int) -> None:
    assert list(Ahead(iter(range(20)), most)) == list(range(20))
    assert reading_ahead() == []


@pytest.mark.parametrize("most", [1, 3, 50])
def test_an_error_comes_after_what_was_before_it(most: int) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ObjectInvalid("line 6")

    found = []
    with pytest.raises(ObjectInvalid, match="line 6"):
        for item in Ahead(items(), most):
            found.append(item)
    assert found == list(range(5))
    assert reading_ahead() == []


def test_it_stops_when_it_is_told_to() -> None:
    made = list[int]()
    may_go_on = threading.Event()

    def items() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number
            may_go_on.wait(10)

    ahead = Ahead(items(), 1000)
    threading.Timer(0.2, may_go_on.set).start()
    ahead.stop()
    assert len(made) < 1000
    assert reading_ahead() == []


def test_a_file_begun_early_is_the_file_read_later(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "".join(f'{number},"x\n{number}"\n' for number in range(1000)))
    early, late = HashedFile(path, 2, b"key"), HashedFile(path, 2, b"key")
    early.begin()
    found = [digest for _, digests in early for digest in digests]
    assert found == [digest for _, digests in late for digest in digests]
    assert found == [digest for _, digests in early for digest in digests], "a second reading"
    assert len(set(found)) == 1000
    other = HashedFile(path, 2, b"another key")
    assert not {digest for _, digests in other for digest in digests} & set(found)
