"""Records, cut from the file by counting quotes."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ObjectInvalid
from tasks.records import read_chunks, read_header

HEADER = '"lms_user_id","notes"\n'
CELL = st.text(alphabet='a,"\n\r\\é', max_size=6)


def file_of(folder: Path, text: str) -> Path:
    path = folder / "file.csv"
    path.write_bytes(text.encode())
    return path


@given(st.lists(st.tuples(CELL, CELL), max_size=20), st.integers(1, 64))
def test_chunks_hold_whole_records_whatever_their_size(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], size: int
) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    path = file_of(tmp_path_factory.mktemp("records"), HEADER + out.getvalue())
    records = [record for chunk in read_chunks(path, size) for record in chunk.records()]
    assert [tuple(record.fields()) for record in records] == rows
    lines = path.read_bytes().split(b"\n")
    for record in records:
        assert record.data.startswith(lines[record.line - 1])


def test_a_file_without_a_last_line_end_is_whole(tmp_path: Path) -> None:
    [chunk] = read_chunks(file_of(tmp_path, HEADER + '"a","b"'))
    assert chunk.data == b'"a","b"\n'


def test_an_open_quote_is_told_by_the_line_on_which_its_record_begins(tmp_path: Path) -> None:
    path = file_of(tmp_path, HEADER + '"a","two\nlines"\n"b","open\nand on\n')
    with pytest.raises(ObjectInvalid, match="line 4: expected every quote to be closed"):
        list(read_chunks(path))


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert read_header(file_of(tmp_path, "\ufeff" + HEADER)) == ["lms_user_id", "notes"]


@pytest.mark.parametrize("content", [b"", b"\n", b'"\xff"\n'])
def test_a_file_without_a_header_is_no_object_of_ours(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    with pytest.raises(ObjectInvalid, match="line 1: expected a header"):
        read_header(path)
