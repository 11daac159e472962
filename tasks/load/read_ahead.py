"""Makes an iterator's items in another thread, ahead of whoever uses them."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """An iterator's items, made in another thread: up to `max_ahead` at first, then one ahead of the caller."""

    def __init__(self, items: Iterator[T], max_ahead: int = 1) -> None:
        self._items = items
        self._pool = ThreadPoolExecutor(1, "read-ahead")  # one thread: a generator cannot run in two
        self._waiting = deque(self._pool.submit(next, items, None) for _ in range(max_ahead))

    def __iter__(self) -> Iterator[T]:
        try:
            while (item := self._waiting.popleft().result()) is not None:
                if not self._waiting:
                    self._waiting.append(self._pool.submit(next, self._items, None))
                yield item
        finally:
            self.stop()

    def stop(self) -> None:
        """Make no more items, and wait for the current one."""
        self._pool.shutdown(cancel_futures=True)
