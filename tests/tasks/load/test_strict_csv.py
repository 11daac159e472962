"""A CSV has one reading: what two strict readers would split differently is refused, with its line.

Issue: "Three CSV readers disagree."
"""

import time
from pathlib import Path

import pytest

from tasks.errors import ObjectInvalid
from tasks.load.records import count_records, read_chunks, read_header

MEGABYTE = 1 << 20


def rows(path: Path, content: bytes, width: int = 1) -> list[list[str | None]]:
    path.write_bytes(content)
    return [record.fields() for chunk in read_chunks(path, width) for record in chunk.records()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.csv"


@pytest.mark.parametrize(
    ("content", "width", "says"),
    [
        # The issue's: pyarrow reads two rows, PostgreSQL one.
        (b'id,size\n1,5" pipe\n2,6" pipe\n', 2, "line 2: .*a quote inside an unquoted value"),
        (b'id,size\n1,x\n2,5"\n3,6"\n', 2, "line 3: .*a quote inside an unquoted value"),
        (b'id,size\n1, "a"\n', 2, "line 2: .*a quote inside an unquoted value"),
        (b'id,size\n1,a""b\n', 2, "line 2: .*a quote inside an unquoted value"),
        (b'id,size\n1,"a" \n', 2, "line 2: .*after a closing quote"),
        (b'id,size\n1,"5" pipe"\n', 2, "line 2: .*after a closing quote"),
        (b'id,size\n1,"a\n2,"b"\n3,"c"\n', 2, "line 2: .*after a closing quote.* on line 3"),
        (b'id,size\n1,"a"\x00\n', 2, "line 2: .*after a closing quote"),
        (b'id,size\n"1"\xef\xbb\xbf,a\n', 2, "line 2: .*after a closing quote"),
        (b'id\n\xef\xbb\xbf"a"\n', 1, "line 2: .*a quote inside an unquoted value"),
    ],
)
def test_a_bare_quote_is_refused_with_its_line(path: Path, content: bytes, width: int, says: str) -> None:
    with pytest.raises(ObjectInvalid, match=says):
        rows(path, content, width)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"id\r1\r2\r", "line 1: .*a lone CR"),  # the issue's: it loaded nothing, exit code 0
        (b"id\n1\r2\r", "line 2: .*a lone CR"), (b"id\n1\n2\r3\n", "line 3: .*a lone CR"), (b"id\n1\n2\r", "line 3: .*a lone CR"),
        (b"id\r\n1\r\n2\r", "line 3: .*a lone CR"), (b"id\n1\r\r\n", "line 2: .*a lone CR"), (b'id\n"a\nb"\r"c"\n', "line 2: .*a lone CR"),
        (b"id\n1\n2\r\n", "line 3: .*mixed"), (b"id\r\n1\r\n2\n3\r\n", "line 3: .*mixed"), (b'id\r\n"a\n"\n', "line 2: .*mixed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_cr_alone_and_mixed_line_ends_are_refused_with_their_line(
    path: Path, content: bytes, says: str, block: int
) -> None:
    path.write_bytes(content)
    with pytest.raises(ObjectInvalid, match=says):
        list(read_chunks(path, 1, block))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b\n1,2\n3\n", "line 3: expected 2 CSV fields, found 1"), (b"a,b\n1,2,3\n", "line 2: expected 2 CSV fields, found 3"),
        (b"a,b\n1,2\n\n3,4\n", "line 3: expected 2 CSV fields, found 1"), (b"a,b\r\n1,2\r\n\r\n", "line 3: expected 2 CSV fields, found 1"),
        (b"a,b\n\n", "line 2: expected 2 CSV fields, found 1"), (b'a,b\n"1\n\n2",3\n4\n', "line 5: expected 2 CSV fields, found 1"),
        (b"a,b\n1,\xff\n3\n", "line 2: expected 2 CSV fields in UTF-8"), (b"a,b\n3\n1,\xff\n", "line 2: expected 2 CSV fields, found 1"),
        (b"a,b\n1,2\n3,\xed\xa0\x80\n", "line 3: .*UTF-8"), (b"a,b\n\xc0\x80,2\n", "line 2: .*UTF-8"), (b'a,b\n1,"\n\xc3"\n', "line 2: .*UTF-8"),
        (b'a,b\n"1","2"\n"3","4\n5,6\n', "line 3: expected every quote to be closed"), (b'a,b\n1,2\n3,"', "line 3: expected every quote"),
    ],
)  # fmt: skip
def test_a_malformed_record_is_refused_with_its_line(path: Path, content: bytes, says: str) -> None:
    with pytest.raises(ObjectInvalid, match=says):
        rows(path, content, 2)


def test_a_backslash_and_a_full_stop_end_nothing(path: Path) -> None:
    """PostgreSQL 16 lost every row after such a line of a one-column file."""
    assert rows(path, b"id\n1\n\\.\n2\n") == [["1"], ["\\."], ["2"]]


def test_an_empty_line_of_one_column_is_a_null(path: Path) -> None:
    assert rows(path, b'id\n\n""\n1\n\n') == [[None], [""], ["1"], [None]]


def test_nul_and_a_byte_order_mark_below_the_header_are_text(path: Path) -> None:
    path.write_bytes(b'a,b\n\xef\xbb\xbfx,"\0"\n' + b"\0,long enough for a vector,\n"[:-2] + b"\n")
    [chunk] = read_chunks(path, 2)
    assert chunk.table.to_pylist() == [{"0": "\ufeffx", "1": "\0"}, {"0": "\0", "1": "long enough for a vector"}]


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_value_of_65_megabytes_is_read_whole(path: Path, quote: bytes) -> None:
    """It was cut at 64 MB; and csv's own limit, 128 KB, ended the load."""
    path.write_bytes(b"a,b\n1," + quote + b"x" * 65 * MEGABYTE + quote + b"\n2,y\n")
    [chunk, *more] = read_chunks(path, 2)
    assert chunk.table["1"][0].as_py() == "x" * 65 * MEGABYTE == chunk.records()[0].fields()[1]
    assert [chunk, *more][-1].records()[-1].fields() == ["2", "y"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'"' + b"\n" * 16 * MEGABYTE, "line 2: expected every quote to be closed"),  # the issue's: 115 s
        (b'"' + b'""' * 8 * MEGABYTE, "line 2: expected every quote to be closed"),
        (b"\n" * 4 * MEGABYTE + b'"', f"line {4 * MEGABYTE + 2}: expected every quote to be closed"),
        (b"x\n" * 4 * MEGABYTE + b"\xff\n", f"line {4 * MEGABYTE + 2}: .*UTF-8"),
        (b"x" * 16 * MEGABYTE + b'"\n', "line 2: .*a quote inside an unquoted value"),
    ],
)
def test_what_is_refused_is_refused_in_linear_time(path: Path, body: bytes, says: str) -> None:
    path.write_bytes(b"a\n" + body)
    began = time.process_time()
    with pytest.raises(ObjectInvalid, match=says):
        for _ in read_chunks(path, 1):
            pass
    assert time.process_time() - began < 10


def test_a_record_that_postgresql_cannot_take_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.load.strict_csv.MAX_RECORD_BYTES", 100)
    path.write_bytes(b"a\n1\n" + b"x" * 150 + b"\n")
    with pytest.raises(ObjectInvalid, match="line 3: expected records of at most 100 bytes"):
        list(read_chunks(path, 1, 10))


def test_records_are_counted_without_their_fields(path: Path) -> None:
    path.write_bytes(b'a\n1\n"2\n3"\n\n4')
    assert count_records(path) == 4


def test_no_message_holds_a_value(path: Path) -> None:
    for body in (b'secret"\n', b'"a"secret\n', b"secret\r\n", b"secret,secret\n", b"secret\xff\n", b'"secret'):
        with pytest.raises(ObjectInvalid) as caught:
            rows(path, b"a\n" + body)
        assert "secret" not in str(caught.value)


def test_a_name_that_occurs_twice_is_not_repeated_in_the_message(path: Path) -> None:
    path.write_bytes(b"secret,secret\n")
    with pytest.raises(ObjectInvalid, match="distinct") as caught:
        read_header(path)
    assert "secret" not in str(caught.value)
