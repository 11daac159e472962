"""The one reader of a CSV file: proves it strict RFC 4180, then pyarrow parses it, a chunk of whole records at a time.

Readers agree on strict RFC 4180. They differ on anything else (a quote inside a bare value, CR line ends, an open
quote), so that is refused with its line.

The proof scans each byte once: a bit per byte for each kind of byte, 64 to a word. The running XOR of the quote bits
says which bytes are inside quotes. Source: simdjson (arXiv:1902.08318), section 3.1.
"""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import itemgetter, or_
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from tasks.errors import ObjectInvalid

CHUNK_BYTES = 4 << 20
BLOCK_BYTES = 512 << 10  # scanned at once: the bits stay in the processor's cache (4 MB took 1.5 times as long)
HEADER_BYTES = 1 << 20
MAX_RECORD_BYTES = (1 << 30) - 1 - BLOCK_BYTES  # PostgreSQL's MaxAllocSize, less the block in which it may end
BOM = b"\xef\xbb\xbf"
QUOTE, COMMA, LF, CR = b'",\n\r'
OTHER_FORMATS = {b"\x1f\x8b": "gzip", b"PK\3\4": "zip", b"PAR1": "Parquet", b"\xff\xfe": "UTF-16", b"<": "HTML or XML"}

BARE_QUOTE = "quotes only around whole values", "one inside a value without quotes"
AFTER_QUOTE = "a comma or a line end after a closing quote (a quote inside a value is doubled)", "something else"
LONE_CR = r"line ends of \n or \r\n", "CR alone"
MIXED = "the header's line end in every line", r"\n and \r\n mixed"
TAIL, WORD, ALL = 2, 64, 2**64 - 1  # each byte is judged by the two before it

Bits = NDArray[np.uint64]
Indexes = NDArray[np.intp]


@dataclass(frozen=True)
class Record:
    """One record as it came, its line end included; `line` is the file's line on which it begins, from 1."""

    line: int
    data: bytes

    def fields(self) -> list[str | None]:
        r"""The record's texts; None for null, which is an empty field without quotes.

        >>> Record(2, b'"a ""b"" c",,""\n').fields()
        ['a "b" c', None, '']
        """
        texts = _FIELD.findall(self.data.removesuffix(b"\n").removesuffix(b"\r") + b",")
        return [_unquoted(text.decode()) if text else None for text in texts]


@dataclass(frozen=True)
class Chunk:
    """Whole records: as bytes, and as a table of text columns named "0", "1", ...; null and "" stay apart."""

    data: bytes
    first_line: int
    first_record: int
    """From 1, below the header."""
    table: pa.Table

    def records(self) -> list[Record]:
        """The chunk's records, each with the line on which it begins."""
        records, line, start = [], self.first_line, 0
        for end in (_bare(self.data, LF) + 1).tolist():
            records.append(Record(line, self.data[start:end]))
            line, start = line + self.data.count(LF, start, end), end
        return records


def read_header(path: Path) -> list[str]:
    """The column names of the file's first record.

    Raises:
        ObjectInvalid: the file is empty or is no strict CSV in UTF-8; or a name is empty or occurs twice.
    """
    text, start, end = _header(path)
    names = Record(1, text[start:end]).fields()
    if names == [None]:
        raise _invalid(1, "a header", "an empty line")
    if names[-1] is None:
        raise ObjectInvalid(
            "line 1: the header ends in a comma, which makes a last column without a name; expected a name after each "
            "comma. Nothing was loaded; delete that comma, and the one at the end of each row, or name the column."
        )
    distinct: dict[str, None] = {}
    for name in names:
        if not name or name.isspace() or name in distinct:
            fault = "the same as an earlier one" if name in distinct else "empty"
            found = f"that name {len(distinct) + 1} of {len(names)} is {fault}"
            raise _invalid(1, "a header of distinct column names", found)
        distinct[name] = None
    return list(distinct)


def read_chunks(path: Path, width: int, size: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """The records below the header, in chunks of about `size` bytes or of one larger record.

    Holds one chunk and its table. Takes time linear in the file's size, whatever the file holds.

    Raises:
        ObjectInvalid: the file is not strict CSV of `width` columns in UTF-8, or a record is larger than PostgreSQL
            takes. Names the line on which the record begins; the chunks before it were yielded.
    """
    record = 1
    for data, line, records in _whole_records(path, width, size):
        try:
            table = _table(data, width)
        except pa.ArrowInvalid:  # its message holds values
            raise _wrong_fields(data, line, width) from None
        yield Chunk(data, line, record, table)
        record += records


def count_records(path: Path) -> int:
    """How many records lie below the header. Proves the file strict, but looks at no field.

    Raises:
        ObjectInvalid: as `read_chunks`, but for the fields' number and encoding.
    """
    return sum(records for _, _, records in _whole_records(path, 1, CHUNK_BYTES))


def _whole_records(path: Path, width: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """About `size` bytes of whole records at a time: proved strict, with their first line and their number."""
    text, start, end = _header(path)
    scanner = _Scanner(text, end, 1 + text[start:end].count(b"\n"), width, text[end - 2 : end] == b"\r\n")
    step = min(size, BLOCK_BYTES - TAIL)
    for _ in range(end, len(text), step):
        scanner.scan(step)
        if scanner.end - scanner.start > max(0, size - step):
            yield scanner.take()
    scanner.finish()
    if scanner.start < len(text):
        yield scanner.take()


def _header(path: Path) -> tuple[mmap.mmap | bytes, int, int]:
    """The file, and where in it the header begins and ends, which is proved strict."""
    with path.open("rb") as file:
        first = file.read(HEADER_BYTES)
        text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if first else b""
    start = len(BOM) if first.startswith(BOM) else 0
    end = start + next(iter((_bare(first[start:], LF) + 1).tolist()), len(first) - start)
    found = next((name for magic, name in OTHER_FORMATS.items() if first.startswith(magic)), "")
    if found or not _is_text(first[start:end]):
        raise _invalid(1, "a header in UTF-8", found or "other bytes")
    if start == end:
        raise _invalid(1, "a header", "an empty file")
    scanner = _Scanner(first[start:end], 0, 1, 1, None)
    scanner.scan(end - start)
    if scanner.end == 0 and end == HEADER_BYTES:
        raise _invalid(1, f"a header of at most {HEADER_BYTES} bytes", "more, or a quote left open")
    scanner.finish()
    return text, start, end


class _Marks(NamedTuple):
    """One bit per byte and kind of byte. An opening quote is inside, its closing one is not."""

    quote: Bits
    comma: Bits
    lf: Bits
    cr: Bits
    inside: Bits
    ends: Bits


class _Scanner:
    """Proves bytes strict, block by block, and finds where their records end; scans no byte twice."""

    def __init__(self, text: mmap.mmap | bytes, start: int, line: int, width: int, crlf: bool | None) -> None:
        self.text, self.line, self.width, self.crlf = text, line, width, crlf
        self.start = self.end = self.done = start  # of the records not yet taken; of whole ones; of the bytes scanned
        self.records = self.lines = 0  # that ended since `start`; CR LF and LF since then, those inside quotes too
        self.inside = False

    def take(self) -> tuple[bytes, int, int]:
        """The whole records not yet taken, their first line, and how many they are."""
        data = self.text[self.start : self.end]
        if not data.endswith(b"\n"):
            data += b"\r\n" if self.crlf else b"\n"
        taken = data, self.line, self.records
        left = self.text[self.end : self.done].count(b"\n")
        self.line, self.lines, self.records, self.start = self.line + self.lines - left, left, 0, self.end
        if isinstance(self.text, mmap.mmap):
            self.text.madvise(mmap.MADV_DONTNEED, 0, self.start)  # else the whole file counts as our memory
        return taken

    def scan(self, count: int) -> None:
        """Prove the next `count` bytes.

        Raises:
            ObjectInvalid: strict CSV cannot go on like this, or a record is too large.
        """
        first, last = self.done, min(self.done + count, len(self.text))
        tail = self.text[max(first - TAIL, 0) : first].rjust(TAIL, b"\n")
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
        if self.done - self.end > MAX_RECORD_BYTES:
            most = f"records of at most {MAX_RECORD_BYTES} bytes, as PostgreSQL takes"
            raise _invalid(self._line_at(self.end), most, "a larger one, or a quote left open")

    def finish(self) -> None:
        """Count the last record too, if it has no line end."""
        if self.inside:
            raise _invalid(self._line_at(self.end), "every quote to be closed", "one left open, or the file was cut")
        if self.end < len(self.text):
            if self.text[-1] == CR:
                raise _invalid(self._line_at(self.end), *LONE_CR)
            self.end, self.records = len(self.text), self.records + 1

    def _words(self, tail: bytes, first: int, last: int) -> NDArray[np.uint8]:
        """The bytes from the tail to `last`, in place where they are whole words."""
        size = TAIL + last - first
        if first >= TAIL and size % WORD == 0:
            return np.frombuffer(self.text, np.uint8, size, first - TAIL)
        return np.frombuffer((tail + self.text[first:last]).ljust(size + -size % WORD, b"\0"), np.uint8)

    def _refuse(self, first: int, last: int, faults: list[tuple[Bits, tuple[str, str]]]) -> None:
        clipped = [(_set(_clip(bits, TAIL + last - first)), says) for bits, says in faults]
        at, (expected, found) = min(((bits[0], says) for bits, says in clipped if bits.size), key=itemgetter(0))
        at += first - TAIL
        ends = _bare(self.text[self.start : at], LF)
        line, begins = self._line_at(at), self._line_at(self.start + (ends[-1] + 1 if ends.size else 0))
        raise _invalid(begins, expected, found if line == begins else f"{found} on line {line}")

    def _line_at(self, index: int) -> int:
        return self.line + self.text[self.start : index].count(b"\n")


def _faults(marks: _Marks, width: int, crlf: bool | None) -> Iterator[tuple[Bits, tuple[str, str]]]:
    """The bytes at which strict CSV ends: what was expected there, and what was found."""
    edge = marks.quote | marks.comma | marks.lf | marks.cr
    yield marks.quote & marks.inside & ~_behind(edge), BARE_QUOTE
    yield _behind(marks.quote & ~marks.inside) & ~edge, AFTER_QUOTE
    if marks.cr.any():
        yield _behind(marks.cr & ~marks.inside) & ~marks.lf, LONE_CR
    if crlf is not None and (crlf or marks.cr.any()):
        yield marks.ends & (_behind(marks.cr) ^ np.uint64(crlf * ALL)), MIXED
    if width > 1:
        empty = marks.ends & _behind(_behind(marks.ends) if crlf else marks.ends)
        yield empty, (f"{width} CSV fields", "1 in an empty line")


def _marks(text: NDArray[np.uint8], inside: bool) -> _Marks:
    """`inside`: whether the quotes before `text` are odd in number. `text` has whole words."""
    quote, comma, lf, cr = (np.packbits(text == byte, bitorder="little").view(np.uint64) for byte in b'",\n\r')
    odd = quote.copy()
    for step in (1, 2, 4, 8, 16, 32):
        odd ^= odd << step
    odd ^= -np.bitwise_xor.accumulate(np.append(np.uint64(inside), odd[:-1] >> 63))
    return _Marks(quote, comma, lf, cr, odd, lf & ~odd)


def _behind(bits: Bits) -> Bits:
    """The bytes behind those."""
    moved = bits << np.uint64(1)
    moved[1:] |= bits[:-1] >> np.uint64(63)
    return moved


def _clip(bits: Bits, end: int) -> Bits:
    """Those between the tail and `end`, which lies in the last word."""
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


def _bare(text: bytes, byte: int) -> Indexes:
    """Where that byte lies outside quotes in whole records."""
    padded = np.frombuffer(text + bytes(-len(text) % WORD), np.uint8)
    inside = np.unpackbits(_marks(padded, inside=False).inside.view(np.uint8), bitorder="little")
    return np.flatnonzero((padded == byte) & (inside == 0))


def _table(data: bytes, width: int) -> pa.Table:
    """The texts of whole records of strict CSV.

    Raises:
        pa.ArrowInvalid: another number of fields, or bytes that are not UTF-8.
    """
    names = [str(number) for number in range(width)]
    text = BOM + data if data.startswith(BOM) else data  # pyarrow takes the first one for the file's
    return pa.csv.read_csv(
        pa.BufferReader(text),
        read_options=pa.csv.ReadOptions(column_names=names, block_size=len(text) + 1, use_threads=False),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _wrong_fields(data: bytes, line: int, width: int) -> ObjectInvalid:
    """What is wrong with the first record that is not `width` fields of UTF-8."""
    ends = _bare(data, LF)
    counts = 1 + np.diff(np.searchsorted(_bare(data, COMMA), ends), prepend=0)
    wrong = int((counts != width).argmax())
    expected, found = f"{width} CSV fields", str(counts[wrong])
    try:
        data[: ends[wrong] if counts[wrong] != width else None].decode()
    except UnicodeDecodeError as error:
        wrong = int(np.searchsorted(ends, error.start))
        expected, found = f"{width} CSV fields in UTF-8", "other bytes"
    begins = line + (data.count(LF, 0, int(ends[wrong - 1]) + 1) if wrong else 0)
    return _invalid(begins, expected, found)


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _invalid(line: int, expected: str, found: str) -> ObjectInvalid:
    return ObjectInvalid(
        f"line {line}: expected {expected}, found {found}. Nothing was loaded; correct the file or extract it again."
    )


_FIELD = re.compile(rb'("(?:[^"]++|"")*+"|[^",]*+),')
