"""The CSV's records, cut at record boundaries without parsing a field: by counting quotes.

A line end belongs to a record's text when an odd number of quotes precedes it, which is how
PostgreSQL's COPY reads CSV too. So a file of any size passes in chunks of whole records.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasks.errors import ObjectInvalid

NEW_LINE = b"\n"
CHUNK_BYTES = 4 << 20
LONGEST_RECORD_BYTES = 64 << 20


@dataclass(frozen=True)
class Chunk:
    """Whole records, as they lie in the file; `first_line` is the file's line, from 1."""

    data: bytes
    first_line: int

    def records(self) -> list["Record"]:
        """The chunk's records, each with the line on which it begins."""
        records, line, pieces, quotes = [], self.first_line, [], 0
        for piece in io.BytesIO(self.data):
            pieces.append(piece)
            quotes += piece.count(b'"')
            if quotes % 2 == 0:
                records.append(Record(line, b"".join(pieces)))
                line, pieces, quotes = line + len(pieces), [], 0
        return records


@dataclass(frozen=True)
class Record:
    """One record as it came, its line end included."""

    line: int
    data: bytes

    def fields(self) -> list[str]:
        """Its fields' texts; null and the empty string look alike here."""
        return next(csv.reader(io.StringIO(self.data.decode(errors="replace"), newline="")), [])


def read_header(path: Path) -> list[str]:
    """The column names of the file's first record.

    Raises:
        ObjectInvalid: the file is empty, or its header is not UTF-8.
    """
    with path.open("rb") as file:
        record = _header_record(file)
    try:
        names = next(csv.reader(io.StringIO(record.decode("utf-8-sig"), newline="")), [])
    except UnicodeDecodeError:
        raise ObjectInvalid("line 1: expected a header in UTF-8, found other bytes. Nothing was loaded.") from None
    if not names:
        raise ObjectInvalid("line 1: expected a header, found an empty file. Nothing was loaded; extract it again.")
    return names


def read_chunks(path: Path, size: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """The records below the header, in chunks of about `size` bytes; holds one.

    Raises:
        ObjectInvalid: a quote is left open; names the line on which its record begins.
    """
    with path.open("rb") as file:
        line = 1 + _header_record(file).count(b"\n")
        rest = b""
        while data := file.read(size):
            rest += data
            end = whole_records(rest)
            if end:
                yield Chunk(rest[:end], line)
                line += rest.count(b"\n", 0, end)
                rest = rest[end:]
            elif len(rest) > LONGEST_RECORD_BYTES:
                break
        if rest.count(b'"') % 2:
            raise ObjectInvalid(
                f"line {line + rest[: whole_records(rest)].count(NEW_LINE)}: expected every quote to be closed, found "
                "one left open. The file was cut or is not a CSV; nothing was loaded. Extract it again."
            )
        if rest:
            yield Chunk(rest + b"\n", line)


def whole_records(data: bytes) -> int:
    """How many bytes of `data`, which begins with a record, are whole records."""
    end = data.rfind(b"\n") + 1
    odd = data.count(b'"', 0, end) % 2
    while end and odd:
        previous = data.rfind(b"\n", 0, end - 1) + 1
        odd ^= data.count(b'"', previous, end) % 2
        end = previous
    return end


def _header_record(file: BinaryIO) -> bytes:
    record = file.readline()
    while record.count(b'"') % 2 and (more := file.readline()):
        record += more
    return record
