"""What another thread reads ahead: the same items, in order, its errors at their place, and no thread left."""

import threading
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from tasks.errors import ObjectInvalid
from tasks.load.hashed_file import DIGEST_BYTES, HashedFile
from tasks.load.read_ahead import ReadAhead


def reading_ahead() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_items_come_in_order_and_the_thread_ends_with_them(most: int) -> None:
    assert list(ReadAhead(iter(range(20)), most)) == list(range(20))
    assert reading_ahead() == []


@pytest.mark.parametrize("most", [1, 3, 50])
def test_an_error_comes_after_what_was_before_it(most: int) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ObjectInvalid("line 6")

    found = []
    with pytest.raises(ObjectInvalid, match="line 6"):
        for item in ReadAhead(items(), most):
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

    ahead = ReadAhead(items(), 1000)
    threading.Timer(0.2, may_go_on.set).start()
    ahead.stop()
    assert len(made) < 1000
    assert reading_ahead() == []


def test_a_file_begun_early_is_the_file_read_later(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "".join(f'{number},"x\n{number}"\n' for number in range(1000)))
    early, late = HashedFile(path, 2, b"key"), HashedFile(path, 2, b"key")
    with early.begun():
        pass  # what PostgreSQL does meanwhile
    found = of_all(early)
    assert found == of_all(late) == of_all(early), "a second reading"
    assert len(set(found)) == 1000
    assert not set(of_all(HashedFile(path, 2, b"another key"))) & set(found)


def test_what_fails_meanwhile_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n" + "x\n" * 1000)
    with pytest.raises(KeyboardInterrupt), HashedFile(path, 1, b"key").begun():
        raise KeyboardInterrupt
    assert reading_ahead() == []


def test_a_consumer_that_fails_waits_for_no_more_than_the_current_item() -> None:
    made = list[int]()

    def items() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number
            sleep(0.01)

    for _ in ReadAhead(items(), 1000):
        break
    assert len(made) < 10
    assert reading_ahead() == []


def of_all(file: HashedFile) -> list[bytes]:
    """The fingerprint of each record."""
    return [digests[at : at + DIGEST_BYTES] for _, digests in file for at in range(0, len(digests), DIGEST_BYTES)]
