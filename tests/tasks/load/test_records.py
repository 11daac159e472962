"""Records: whole, proved strict, and read the same by Python's csv, by pyarrow and by `Record.fields`."""

import csv
import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ObjectInvalid
from tasks.load.records import Chunk, count_records, read_chunks, read_header

Row = list[str | None]
TEXT = st.one_of(
    st.sampled_from([",", '"', "\n", "\r", "\r\n", "\\.", "\0", "\ufeff", " a ", "é😀", "NULL", "\\", "\x1a", "\u2028", "a" * 70]),
    st.text(alphabet='a,"\n\r\\é\0 ;\ufeff', max_size=6),
)  # fmt: skip
ROWS = st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(st.none() | TEXT, min_size=width, max_size=width)))
SOUP = st.lists(
    st.sampled_from(
        [b'"', b'"', b",", b"\n", b"\n", b"\r\n", b"\r", b"a", b"\xc3\xa9", b"\xc3", b"\0", b"\xef\xbb\xbf"]
    )
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records") / "file.csv"


def field(text: str | None, always: bool) -> str:
    bare = text is None or (text and not always and not set(text) & set('",\n\r'))
    return text or "" if bare else '"' + (text or "").replace('"', '""') + '"'


def strict_csv(rows: list[Row], line_end: str, last_line_end: bool, always: bool) -> str:
    text = "".join(",".join(field(value, always) for value in row) + line_end for row in rows)
    return text if last_line_end or not rows or rows[-1] == [None] else text.removesuffix(line_end)


def python_rows(text: str) -> list[list[str]]:
    """As Python's own reader has them; an empty line is one null to us, no fields to it."""
    return [row or [""] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]


def pyarrow_rows(chunk: Chunk) -> list[Row]:
    return [list(row) for row in zip(*(column.to_pylist() for column in chunk.table.columns), strict=True)]


def agreed_rows(path: Path, width: int, size: int) -> Iterator[Row]:
    """The rows, once the chunks are found to be consistent in themselves and with each other."""
    number = 1
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for chunk in read_chunks(path, width, size):
        records = chunk.records()
        assert (chunk.first_record, chunk.first_line) == (number, records[0].line)
        assert b"".join(record.data for record in records) == chunk.data
        assert [record.fields() for record in records] == pyarrow_rows(chunk)
        for record in records:
            assert record.data.split(b"\n")[0] == lines[record.line - 1] or record.data.endswith(b"\r\n")
        yield from pyarrow_rows(chunk)
        number += len(records)
    assert count_records(path) == number - 1


@given(
    ROWS,
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "\ufeff"]),
    st.integers(1, 200),
)
def test_every_reader_reads_strict_csv_as_it_was_written(
    path: Path, rows: list[Row], line_end: str, last_line_end: bool, always: bool, bom: str, size: int
) -> None:
    width = len(rows[0]) if rows else 1
    header = ",".join(f"name{number}" for number in range(width)) + line_end
    body = strict_csv(rows, line_end, last_line_end, always)
    path.write_bytes((bom + header + body).encode())
    assert read_header(path) == [f"name{number}" for number in range(width)]
    assert list(agreed_rows(path, width, size)) == rows
    assert python_rows(body) == [[value or "" for value in row] for row in rows]


@given(SOUP, st.integers(1, 3), st.integers(1, 200))
def test_any_bytes_are_refused_with_a_line_or_read_alike_by_every_reader(
    path: Path, soup: list[bytes], width: int, size: int
) -> None:
    body = b"".join(soup)
    path.write_bytes(b"a,b,c"[: 2 * width - 1] + b"\n" + body)
    try:
        rows = list(agreed_rows(path, width, size))
    except ObjectInvalid as error:
        assert str(error).startswith("line ")
    else:
        assert python_rows(body.decode()) == [[value or "" for value in row] for row in rows]


def test_chunks_are_of_about_the_size_asked_for(path: Path) -> None:
    path.write_text("a\n" + "12345678\n" * 200_000)
    sizes = [len(chunk.data) for chunk in read_chunks(path, 1, 1 << 20)]
    assert (sum(sizes), max(sizes) <= 1 << 20, min(sizes[:-1]) >= 1 << 19) == (1_800_000, True, True)


def test_chunks_are_cut_the_same_wherever_blocks_end(path: Path) -> None:
    path.write_bytes(b"a,b\n" + b'"x ""y""\r\n",\n,"1,\n2"\n' * 3)
    whole = [record for chunk in read_chunks(path, 2) for record in chunk.records()]
    for size in range(1, 90):
        assert [record for chunk in read_chunks(path, 2, size) for record in chunk.records()] == whole


def test_a_file_without_a_last_line_end_is_whole(path: Path) -> None:
    path.write_bytes(b'a,b\r\n"a",')
    [chunk] = read_chunks(path, 2)
    assert (chunk.data, chunk.table.to_pylist()) == (b'"a",\r\n', [{"0": "a", "1": None}])


def test_lines_are_counted_inside_quotes_too(path: Path) -> None:
    path.write_bytes(b'"a\nb",c\n1,"2\n\n3"\n4,5\n')
    [chunk] = read_chunks(path, 2)
    assert [record.line for record in chunk.records()] == [3, 6]
    assert [after - before for before, after in pairwise(record.line for record in chunk.records())] == [3]


def test_a_byte_order_mark_is_no_part_of_the_first_name(path: Path) -> None:
    path.write_bytes('\ufeff"lms_user_id","notes"\n'.encode())
    assert read_header(path) == ["lms_user_id", "notes"]
    assert list(read_chunks(path, 2)) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"), (b"\xef\xbb\xbf", "an empty file"), (b"\n", "an empty line"), (b'"\xff"\n', "other bytes"),
        (b"id,name,\n", "the header ends in a comma"), (b"id,,b\n", "name 2 of 3, which is empty"), (b'id, ,""\n', "name 2 of 3, which is empty"),
        (b"id,a,id\n", "name 3 of 3, which is the same as an earlier one"), (b'id,a"b\n', "a quote inside an unquoted value"),
        (b'id,"a" \n', "something else"), (b"id\r1\r", "a lone CR"), (b"id\r", "a lone CR"), (b'id,"a', "an unclosed quote"),
        (b"a" * (1 << 20) + b"b\n", "a longer one, or an unclosed quote"), (b"lms_user_id\n".decode().encode("utf-16-le"), "other bytes"),
        ("id\n".encode("utf-16"), "UTF-16"), (b"\x1f\x8b\x08\0\n", "gzip"), (b"PK\3\4\n", "zip"), (b"PAR1\x15\0\n", "Parquet"),
        (b"<!DOCTYPE html>\n", "HTML"),
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_refused_with_the_reason(path: Path, content: bytes, found: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ObjectInvalid, match=f"^line 1: .*{found}"):
        read_header(path)
