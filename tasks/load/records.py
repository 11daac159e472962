"""The one reader of a CSV file: `tasks.load.strict_csv` checks it, then pyarrow parses it in chunks."""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from tasks.errors import ObjectInvalid
from tasks.load.strict_csv import BLOCK_BYTES, COMMA, LF, TAIL, Indexes, Part, Scanner, invalid, outside_quotes

Bools = NDArray[np.bool_]
CHUNK_BYTES = 4 << 20
HEADER_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"
OTHER_FORMATS = {b"\x1f\x8b": "gzip", b"PK\3\4": "zip", b"PAR1": "Parquet", b"\xff\xfe": "UTF-16", b"<": "HTML or XML"}


@dataclass(frozen=True)
class Record:
    """One record as it is in the file, including its line ending; `line` is the line on which it begins, from 1."""

    line: int
    data: bytes

    def fields(self) -> list[str | None]:
        r"""The record's texts; None for null, which is an empty unquoted field.

        >>> Record(2, b'"a ""b"" c",,""\n').fields()
        ['a "b" c', None, '']
        """
        texts = _FIELD.findall(self.data.removesuffix(b"\n").removesuffix(b"\r") + b",")
        return [_unquoted(text.decode()) if text else None for text in texts]


@dataclass(frozen=True)
class Chunk:
    """Whole records: as bytes, and as a table of text columns named "0", "1", ...; null and "" stay distinct."""

    data: bytes
    first_line: int
    numbers: Indexes
    """The records' places in the file, from 1 below the header."""
    table: pa.Table
    fingerprints: pa.Array | None = None
    """The records' fingerprints, if there are any."""

    @property
    def first_record(self) -> int:
        """The first record's place."""
        return int(self.numbers[0])

    def records(self) -> list[Record]:
        """The chunk's records, with the line on which each begins."""
        records, line, start = [], self.first_line, 0
        for end in (outside_quotes(self.data, LF) + 1).tolist():
            records.append(Record(line, self.data[start:end]))
            line, start = line + self.data.count(LF, start, end), end
        return records


class Sieve(Protocol):
    """Says which records are wanted; see `tasks.load.fingerprints`."""

    def parts(self) -> Iterator[tuple[Part, Bools, pa.Array]]:
        """The file's parts, which of their records are wanted, and the fingerprints of those records."""


def read_header(path: Path) -> list[str]:
    """The column names of the file's first record.

    Raises:
        ObjectInvalid: the file is empty or not strict CSV in UTF-8; or a name is empty or occurs twice.
    """
    text, start, end = _header(path)
    names = Record(1, text[start:end]).fields()
    if names == [None]:
        raise invalid(1, "a header", "an empty line")
    if names[-1] is None:
        raise ObjectInvalid(
            "line 1: expected a name after each comma, but the header ends in a comma, which adds a column without a "
            "name. Nothing was loaded; delete that comma and the one at the end of each row, or name the column."
        )
    distinct: dict[str, None] = {}
    for name in names:
        if not name or name.isspace() or name in distinct:
            fault = "the same as an earlier one" if name in distinct else "empty"
            found = f"name {len(distinct) + 1} of {len(names)}, which is {fault}"
            raise invalid(1, "a header of distinct column names", found)
        distinct[name] = None
    return list(distinct)


def read_chunks(path: Path, width: int, size: int = CHUNK_BYTES, sieve: Sieve | None = None) -> Iterator[Chunk]:
    """The wanted records below the header, in chunks of about `size` bytes or of one larger record.

    Holds one chunk and its table in memory. Takes time linear in the file's size, whatever the file contains.

    Args:
        sieve: made for this file; it reads the file's parts itself.

    Raises:
        ObjectInvalid: the file is not strict CSV of `width` columns in UTF-8, or a record is larger than PostgreSQL
            accepts. Names the line on which the record begins; the chunks before it have been yielded.
    """
    record = 1
    parts = ((part, None, None) for part in whole_records(path, width, size)) if sieve is None else sieve.parts()
    for part, wanted, fingerprints in parts:
        numbers = np.arange(record, record + part.records)
        record += part.records
        if wanted is not None and not wanted.any():
            continue
        data = found = part.data
        if wanted is not None:
            found, numbers = _those(data, part.ends, wanted), numbers[wanted]
        try:
            table = _table(found, width)
        except pa.ArrowInvalid:  # its message holds values
            raise _wrong_fields(data, part.line, width) from None
        yield Chunk(found, part.line, numbers, table, fingerprints)


def header_bytes(path: Path) -> int:
    """The header's length, including its line ending and a byte order mark."""
    return _header(path)[2]


def count_records(path: Path) -> int:
    """How many records follow the header. Checks that the file is strict CSV, but does not look at the fields.

    Raises:
        ObjectInvalid: as for `read_chunks`, except for the number of fields and their encoding.
    """
    return sum(part.records for part in whole_records(path, 1))


def whole_records(path: Path, width: int, size: int = CHUNK_BYTES, *, keep_ends: bool = False) -> Iterator[Part]:
    """The records below the header, in parts of about `size` bytes; see `read_chunks`."""
    text, start, end = _header(path)
    first_line, crlf = 1 + text[start:end].count(b"\n"), text[end - 2 : end] == b"\r\n"
    scanner = Scanner(text, end, first_line, width, crlf, keep_ends=keep_ends)
    # a step and its tail make whole 64-bit words, so the block can be scanned in place
    step = min(size, BLOCK_BYTES - TAIL)
    for _ in range(end, len(text), step):
        scanner.scan(step)
        if scanner.end - scanner.start > max(0, size - step):
            yield scanner.take()
    scanner.finish()
    if scanner.start < len(text):
        yield scanner.take()


def _those(data: bytes, ends: Indexes, wanted: Bools) -> bytes:
    """Only the wanted records."""
    if wanted.all():
        return data
    starts = np.concatenate([[0], ends[:-1]])[wanted]
    return b"".join([data[start:end] for start, end in zip(starts.tolist(), ends[wanted].tolist(), strict=True)])


def _header(path: Path) -> tuple[mmap.mmap | bytes, int, int]:
    """The file, and where its header begins and ends; checks that the header is strict CSV."""
    with path.open("rb") as file:
        first = file.read(HEADER_BYTES)
        # an empty file cannot be mapped
        text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if first else b""
    start = len(BOM) if first.startswith(BOM) else 0
    end = start + next(iter((outside_quotes(first[start:], LF) + 1).tolist()), len(first) - start)
    found = next((name for magic, name in OTHER_FORMATS.items() if first.startswith(magic)), "")
    if found or not _is_text(first[start:end]):
        raise invalid(1, "a header in UTF-8", found or "other bytes")
    if start == end:
        raise invalid(1, "a header", "an empty file")
    scanner = Scanner(first[start:end], 0, 1, 1, None)
    scanner.scan(end - start)
    if scanner.end == 0 and end == HEADER_BYTES:
        raise invalid(1, f"a header of at most {HEADER_BYTES} bytes", "a longer one, or an unclosed quote")
    scanner.finish()
    return text, start, end


def _table(data: bytes, width: int) -> pa.Table:
    """The texts of whole records of strict CSV.

    Raises:
        pa.ArrowInvalid: a different number of fields, or bytes that are not UTF-8.
    """
    names = [str(number) for number in range(width)]
    text = BOM + data if data.startswith(BOM) else data  # pyarrow drops the first BOM as the file's own
    return pa.csv.read_csv(
        pa.BufferReader(text),
        read_options=pa.csv.ReadOptions(column_names=names, block_size=len(text) + 1, use_threads=False),
        # in a file of one column, an empty line is a record with a null
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _wrong_fields(data: bytes, line: int, width: int) -> ObjectInvalid:
    """The error for the first record that is not `width` fields of UTF-8."""
    ends = outside_quotes(data, LF)
    counts = 1 + np.diff(np.searchsorted(outside_quotes(data, COMMA), ends), prepend=0)
    # 0 if no record has another number of fields; then the bytes are to blame
    wrong = int((counts != width).argmax())
    expected, found = f"{width} CSV fields", str(counts[wrong])
    try:
        data[: ends[wrong] if counts[wrong] != width else None].decode()
    except UnicodeDecodeError as error:
        wrong = int(np.searchsorted(ends, error.start))
        expected, found = f"{width} CSV fields in UTF-8", "other bytes"
    begins = line + (data.count(LF, 0, int(ends[wrong - 1]) + 1) if wrong else 0)
    return invalid(begins, expected, found)


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


# possessive quantifiers: a long value is never backtracked into (linear time, see read_chunks)
_FIELD = re.compile(rb'("(?:[^"]++|"")*+"|[^",]*+),')
