"""Checks that bytes are strict RFC 4180, and finds where the records end.

All CSV readers agree on strict CSV. They differ on anything else (a quote inside an unquoted value, CR line endings, an
unclosed quote), so that is rejected with its line number.

Each byte is scanned once: for each kind of byte there is one bit per byte, 64 to a word. The running XOR of the quote
bits shows which bytes are inside quotes. Source: simdjson (arXiv:1902.08318), section 3.1.
"""

import mmap
from collections.abc import Iterator
from functools import reduce
from operator import itemgetter, or_
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ObjectInvalid

BLOCK_BYTES = 512 << 10  # scanned in one go: the bits stay in the processor's cache (4 MB took 1.5 times as long)
MAX_RECORD_BYTES = (1 << 30) - 1 - BLOCK_BYTES  # PostgreSQL's MaxAllocSize, less the block in which it may end
QUOTE, COMMA, LF, CR = b'",\n\r'

BARE_QUOTE = "quotes only around whole values", "a quote inside an unquoted value"
AFTER_QUOTE = "a comma or line ending after a closing quote (double a quote inside a value)", "something else"
LONE_CR = r"line endings of \n or \r\n", "a lone CR"
MIXED = "the same line ending in every line", r"\n and \r\n mixed"
TAIL, WORD, ALL = 2, 64, 2**64 - 1  # whether a byte is valid depends on the two before it

Bits = NDArray[np.uint64]
Indexes = NDArray[np.intp]


class _Marks(NamedTuple):
    """One bit per byte and kind of byte. An opening quote counts as inside, a closing one does not."""

    quote: Bits
    comma: Bits
    lf: Bits
    cr: Bits
    inside: Bits
    ends: Bits


class Part(NamedTuple):
    """Whole, strict records of a file, read from it when they are asked for."""

    text: mmap.mmap | bytes
    start: int
    stop: int
    line: int
    """The first record's line in the file, from 1."""
    records: int
    ends: Indexes
    """Where each record ends, counted from `start`; empty if the ends are not kept."""
    line_ending: bytes

    @property
    def data(self) -> bytes:
        """The records; if the file's last one has no line ending, it is added."""
        data = self.text[self.start : self.stop]
        if isinstance(self.text, mmap.mmap):
            self.text.madvise(mmap.MADV_DONTNEED, 0, self.stop)  # as in `take`: the scanner may be ahead
        return data if data.endswith(b"\n") else data + self.line_ending


class Scanner:
    """Checks bytes block by block and finds where their records end; scans no byte twice."""

    def __init__(
        self, text: mmap.mmap | bytes, start: int, line: int, width: int, crlf: bool | None, *, keep_ends: bool = False
    ) -> None:
        self.text, self.line, self.width, self.crlf = text, line, width, crlf
        self.start = self.end = self.done = start  # where records not yet taken begin, whole ones end, scanning stopped
        self.records = self.lines = 0  # ended since `start`; line feeds since then, including those inside quotes
        self.inside = False
        self._ends: list[Indexes] | None = [] if keep_ends else None

    def take(self) -> Part:
        """The whole records not yet taken."""
        ends = np.concatenate([*(self._ends or ()), np.empty(0, np.intp)]) - self.start
        if self._ends:
            self._ends.clear()
        line_ending = b"\r\n" if self.crlf else b"\n"
        taken = Part(self.text, self.start, self.end, self.line, self.records, ends, line_ending)
        # lines of a record that has begun but not ended
        left = self.text[self.end : self.done].count(b"\n")
        self.line, self.lines, self.records, self.start = self.line + self.lines - left, left, 0, self.end
        if isinstance(self.text, mmap.mmap):
            self.text.madvise(mmap.MADV_DONTNEED, 0, self.start)  # otherwise the whole file counts as our memory
        return taken

    def scan(self, count: int) -> None:
        """Check the next `count` bytes.

        Raises:
            ObjectInvalid: the bytes are not strict CSV, or a record is too large.
        """
        first, last = self.done, min(self.done + count, len(self.text))
        # before the file's first byte stands a line ending, as before any other record
        tail = self.text[max(first - TAIL, 0) : first].rjust(TAIL, b"\n")
        # the tail is scanned once more, so its quotes are taken out of the count
        marks = _marks(self._words(tail, first, last), self.inside ^ bool(tail.count(QUOTE) % 2))
        faults = list(_faults(marks, self.width, self.crlf))
        if _clip(reduce(or_, (bits for bits, _ in faults)), TAIL + last - first).any():
            self._refuse(first, last, faults)
        ends = _clip(marks.ends, TAIL + last - first)
        self.done, self.inside = last, _has(marks.inside, TAIL + last - first - 1)
        self.lines += int(np.bitwise_count(_clip(marks.lf, TAIL + last - first)).sum())
        if ends.any():
            self.records += int(np.bitwise_count(ends).sum())
            self.end = first - TAIL + _last(ends) + 1
            if self._ends is not None:
                self._ends.append(_set(ends) + (first - TAIL + 1))
        if self.done - self.end > MAX_RECORD_BYTES:
            most = f"records of at most {MAX_RECORD_BYTES} bytes, the most that PostgreSQL accepts"
            raise invalid(self._line_at(self.end), most, "a larger one, or an unclosed quote")

    def finish(self) -> None:
        """Count the last record too, if it has no line ending."""
        if self.inside:
            raise invalid(self._line_at(self.end), "every quote to be closed", "an unclosed quote, or a truncated file")
        if self.end < len(self.text):
            if self.text[-1] == CR:
                raise invalid(self._line_at(self.end), *LONE_CR)
            self.end, self.records = len(self.text), self.records + 1
            if self._ends is not None:
                self._ends.append(np.array([self.end + (2 if self.crlf else 1)]))  # `take` adds the line ending

    def _words(self, tail: bytes, first: int, last: int) -> NDArray[np.uint8]:
        """The bytes from the tail to `last`; not copied if they are whole words."""
        size = TAIL + last - first
        if first >= TAIL and size % WORD == 0:
            return np.frombuffer(self.text, np.uint8, size, first - TAIL)
        return np.frombuffer((tail + self.text[first:last]).ljust(size + -size % WORD, b"\0"), np.uint8)

    def _refuse(self, first: int, last: int, faults: list[tuple[Bits, tuple[str, str]]]) -> None:
        clipped = [(_set(_clip(bits, TAIL + last - first)), says) for bits, says in faults]
        at, (expected, found) = min(((bits[0], says) for bits, says in clipped if bits.size), key=itemgetter(0))
        at += first - TAIL
        ends = outside_quotes(self.text[self.start : at], LF)
        line, begins = self._line_at(at), self._line_at(self.start + (ends[-1] + 1 if ends.size else 0))
        raise invalid(begins, expected, found if line == begins else f"{found} on line {line}")

    def _line_at(self, index: int) -> int:
        return self.line + self.text[self.start : index].count(b"\n")


def _faults(marks: _Marks, width: int, crlf: bool | None) -> Iterator[tuple[Bits, tuple[str, str]]]:
    """The bytes that break strict CSV; what was expected there, and what was found."""
    edge = marks.quote | marks.comma | marks.lf | marks.cr
    # an opening quote stands right behind an edge; behind a quote it is the second of a doubled one
    yield marks.quote & marks.inside & ~_next_bytes(edge), BARE_QUOTE
    yield _next_bytes(marks.quote & ~marks.inside) & ~edge, AFTER_QUOTE
    if marks.cr.any():
        yield _next_bytes(marks.cr & ~marks.inside) & ~marks.lf, LONE_CR
    if crlf is not None and (crlf or marks.cr.any()):
        yield marks.ends & (_next_bytes(marks.cr) ^ np.uint64(crlf * ALL)), MIXED
    if width > 1:
        empty = marks.ends & _next_bytes(_next_bytes(marks.ends) if crlf else marks.ends)
        yield empty, (f"{width} CSV fields", "1 in an empty line")


def _marks(text: NDArray[np.uint8], inside: bool) -> _Marks:
    """`inside`: whether the number of quotes before `text` is odd. `text` consists of whole words."""
    quote, comma, lf, cr = (np.packbits(text == byte, bitorder="little").view(np.uint64) for byte in b'",\n\r')
    # Prefix XOR: bit n becomes the parity of the quotes up to n, first within each word. Then across words: where the
    # quotes before a word are odd in number, it is flipped by the negative of 1, which is all ones.
    odd = quote.copy()
    for step in (1, 2, 4, 8, 16, 32):
        odd ^= odd << step
    odd ^= -np.bitwise_xor.accumulate(np.append(np.uint64(inside), odd[:-1] >> 63))
    return _Marks(quote, comma, lf, cr, odd, lf & ~odd)


def _next_bytes(bits: Bits) -> Bits:
    """The bytes right after these."""
    moved = bits << np.uint64(1)
    moved[1:] |= bits[:-1] >> np.uint64(63)
    return moved


def _clip(bits: Bits, end: int) -> Bits:
    """Only the bits between the tail and `end`, which is in the last word."""
    bits[0] &= ALL - 2**TAIL + 1
    bits[-1] &= ALL >> (-end % WORD)
    return bits


def _has(bits: Bits, index: int) -> bool:
    return bool(int(bits[index // WORD]) >> index % WORD & 1)


def _set(bits: Bits) -> Indexes:
    return np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little"))


def _last(bits: Bits) -> int:
    word = len(bits) - 1 - int((bits != 0)[::-1].argmax())
    return WORD * word + int(bits[word]).bit_length() - 1


def outside_quotes(text: bytes, byte: int) -> Indexes:
    """Where that byte is outside quotes; `text` consists of whole records."""
    padded = np.frombuffer(text + bytes(-len(text) % WORD), np.uint8)
    inside = np.unpackbits(_marks(padded, inside=False).inside.view(np.uint8), bitorder="little")
    return np.flatnonzero((padded == byte) & (inside == 0))


def invalid(line: int, expected: str, found: str) -> ObjectInvalid:
    return ObjectInvalid(
        f"line {line}: expected {expected}, found {found}. Nothing was loaded; correct the file or extract it again."
    )
