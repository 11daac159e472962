"""A file's records with their fingerprints, hashed while PostgreSQL is still looking up the ones that it has."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.load.read_ahead import ReadAhead
from tasks.load.records import whole_records
from tasks.load.strict_csv import Part

Hashed = tuple[Part, bytes]
DIGEST_BYTES = 16
MAX_PARTS_AHEAD = 64
"""Parts of 4 MB each, of which only the fingerprints and where the records end are kept: 24 bytes per record."""


class HashedFile:
    """One file's parts, each with the fingerprints of its records, one after another.

    Args:
        key: BLAKE2b's.
    """

    def __init__(self, path: Path, width: int, key: bytes) -> None:
        self.path, self.width = path, width
        # copied for each record: keying a new hash takes as long as hashing a record
        self._keyed = hashlib.blake2b(digest_size=DIGEST_BYTES, key=key)
        self._begun: ReadAhead[Hashed] | None = None

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Hash in another thread from here on, while this one waits for PostgreSQL; unless that fails."""
        self._begun = ReadAhead(self._parts(), MAX_PARTS_AHEAD)
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def __iter__(self) -> Iterator[Hashed]:
        begun, self._begun = self._begun, None
        return iter(begun or self._parts())

    def stop(self) -> None:
        """Stop hashing ahead, if that was begun and not yet used."""
        if self._begun is not None:
            self._begun.stop()

    def _parts(self) -> Iterator[Hashed]:
        for part in whole_records(self.path, self.width, keep_ends=True):
            text, start, digests = memoryview(part.data), 0, []
            for end in part.ends.tolist():
                each = self._keyed.copy()
                each.update(text[start:end])
                digests.append(each.digest())
                start = end
            yield part, b"".join(digests)
