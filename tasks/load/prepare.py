"""Prepares a chunk for COPY: rejects values that do not fit, cuts fractions of a second that a type cannot store."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.load.align import AlignedColumn, Alignment
from tasks.load.arrays import NotAnArray, array_literal, elements, to_utc
from tasks.load.formats import Format, sortable
from tasks.load.read_ahead import ReadAhead
from tasks.load.reasons import Reasons
from tasks.load.records import Chunk
from tasks.repeated_keys import first_repeated_key

RECORD = "_record"
FINGERPRINT = "_fingerprint"
ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
"""Escapes in COPY's text format; the backslash comes first, since the others add backslashes."""
WIDE_BYTES = 1 << 28
"""Beyond this, a chunk's lines may not fit into 2 GB, the limit of Arrow's strings."""
NUL = "contains a NUL character, which PostgreSQL cannot store"
NO_KEY = "expected a key, found none"
NOT_NULL = "must have a value (NOT NULL)"


@dataclass
class Prepared:
    """One chunk, ready for COPY: the rows that fit, with staging names and record numbers; and the rejected ones."""

    rows: pa.Table
    read: int
    lines: pa.Buffer = field(default_factory=lambda: pa.py_buffer(b""))
    """The same rows, as `copy_lines` writes them."""
    rejected: Reasons = field(default_factory=dict)
    cut: Counter[str] = field(default_factory=Counter)
    """Column name to how many of its values lost digits of a second that the type cannot store."""
    filled: Counter[str] = field(default_factory=Counter)
    """Column name to how many of its values are not null."""


def prepared_chunks(
    chunks: Iterator[Chunk], alignment: Alignment, *, check_nulls: bool, own_json: str | None
) -> Iterator[Prepared]:
    """Each chunk prepared, one ahead of the one in use: a second core reads while PostgreSQL copies."""
    prepared = (prepare(chunk, alignment, check_nulls=check_nulls, own_json=own_json) for chunk in chunks)
    return iter(ReadAhead(prepared))


def prepare(chunk: Chunk, alignment: Alignment, *, check_nulls: bool, own_json: str | None) -> Prepared:
    """One chunk, ready for COPY.

    Args:
        check_nulls: reject a null where the table requires a value; false if a trigger of the table may fill it in.
        own_json: a column whose JSON this project wrote, without repeated keys.
    """
    read = chunk.table.num_rows
    prepared = Prepared(chunk.table, read)
    columns: dict[str, pa.Array] = {RECORD: pa.array(chunk.numbers)}
    if chunk.fingerprints is not None:
        columns[FINGERPRINT] = chunk.fingerprints
    if b"\0" in chunk.data:
        for column in alignment.columns:
            nul = pc.match_substring(texts_of(chunk, column), "\0")
            reject_rows(prepared, chunk, nul, column, NUL)
    for column in alignment.staged:
        texts = texts_of(chunk, column)
        if not column.is_loaded:  # it is only used to see which row is newer
            columns[column.staged] = pa.array(map(sortable, texts.to_pylist()), pa.string())
            continue
        wanted = column.format if column.name != own_json else replace(column.format, keeps_last_value=False)
        columns[column.staged] = prepare_column(texts, column, wanted, prepared, chunk)
        prepared.filled[column.name] += read - columns[column.staged].null_count
    key = texts_of(chunk, alignment.key)
    reject_rows(prepared, chunk, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(key), ""), True), alignment.key, NO_KEY)
    for column in alignment.loaded if check_nulls else ():
        if column.required:
            reject_rows(prepared, chunk, pc.is_null(texts_of(chunk, column)), column, NOT_NULL)
    prepared.rows = pa.table(columns)
    if prepared.rejected:
        fits = np.isin(chunk.numbers, list(prepared.rejected), invert=True)
        prepared.rows = prepared.rows.filter(pa.array(fits))
    prepared.lines = copy_lines(prepared.rows)
    return prepared


def copy_lines(rows: pa.Table) -> pa.Buffer:
    r"""Rows in COPY's own text format: one line per row, so that PostgreSQL counts rows when it names a line.

    >>> table = pa.table({"_record": [1, 2], "c0": ["a\tb\\", ""], "c1": [None, "\\N"]})
    >>> copy_lines(table).to_pybytes().decode().splitlines()
    ['1\ta\\tb\\\\\t\\N', '2\t\t\\\\N']
    >>> copy_lines(table.slice(2)).size
    0
    """
    if not rows.num_rows:
        return pa.py_buffer(b"")
    kind = pa.large_string() if rows.nbytes > WIDE_BYTES else pa.string()
    columns = [escaped(column.cast(kind).combine_chunks()) for column in rows.columns]
    lines = pc.binary_join_element_wise(*columns, "\t", null_handling="replace", null_replacement=r"\N")
    lines = pc.binary_join_element_wise(lines, "", "\n")
    # Arrow's buffer may be longer than what is written in it
    return lines.buffers()[2].slice(0, pc.sum(pc.binary_length(lines)).as_py())


def escaped(texts: pa.Array) -> pa.Array:
    """Escape the characters that mean something to COPY. Most columns have none, and searching the bytes is cheap."""
    data = texts.buffers()[2]
    found = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    for plain, instead in ESCAPES.items():
        if (found == ord(plain)).any():
            texts = pc.replace_substring(texts, plain, instead)
    return texts


def texts_of(chunk: Chunk, column: AlignedColumn) -> pa.Array:
    """A column's texts, as the file has them."""
    return chunk.table.column(column.number).combine_chunks()


def reject_rows(prepared: Prepared, chunk: Chunk, wrong: pa.Array, column: AlignedColumn, reason: str) -> None:
    """Reject the rows that are `wrong`, unless already rejected for another column; null is not wrong."""
    for index in np.flatnonzero(pc.fill_null(wrong, False).to_numpy(zero_copy_only=False)):
        prepared.rejected.setdefault(int(chunk.numbers[index]), (column.name, reason))


def prepare_column(
    texts: pa.Array, column: AlignedColumn, wanted: Format, prepared: Prepared, chunk: Chunk
) -> pa.Array:
    """The texts that PostgreSQL gets of one column; those that do not fit are rejected."""
    if column.is_array:
        return prepare_array(texts, column, prepared, chunk)
    reject_rows(prepared, chunk, invalid_texts(texts, wanted), column, f"expected {wanted.expected}")
    texts, cut = truncated(texts, wanted)
    prepared.cut[column.name] += cut
    return texts


def invalid_texts(texts: pa.Array, wanted: Format) -> pa.Array:
    """Which texts the type does not take exactly; null where the text is null."""
    wrong = pa.nulls(len(texts), pa.bool_())
    if wanted.pattern is not None:
        wrong = pc.invert(pc.match_substring_regex(texts, f"^(?:{wanted.pattern})$"))
    if wanted.max_chars is not None:
        wrong = pc.greater(pc.utf8_length(texts), wanted.max_chars)
    if wanted.keeps_last_value:
        # no key can be repeated without a second colon, and most texts have none
        several = pc.greater(pc.count_substring(texts, ":"), 1).to_pylist()
        wrong = pa.array(
            [bool(each) and repeats_key(text) for each, text in zip(several, texts.to_pylist(), strict=True)]
        )
    return wrong


def repeats_key(text: str) -> bool:
    """Whether a text is JSON in which an object repeats a key, or is nested too deeply to tell.

    >>> repeats_key('{"a":1,"a":2}'), repeats_key('{"a":1,')
    (True, False)
    """
    try:
        return first_repeated_key(text) is not None
    except RecursionError:
        return True
    except ValueError:  # PostgreSQL reports the error
        return False


def truncated(texts: pa.Array, wanted: Format) -> tuple[pa.Array, int]:
    """Texts without the digits of a second, or the time of day, that the type cannot store; how many lost digits.

    They are cut, since PostgreSQL would round: 23:59:59.7 into a timestamp(0) would be the next day.
    """
    if wanted.day_only:
        return pc.utf8_slice_codeunits(texts, 0, 10), 0
    if wanted.fraction_digits is None:
        return texts, 0
    kept = rf"\.\d{{{wanted.fraction_digits}}}"
    if not pc.any(pc.match_substring_regex(texts, rf"{kept}\d")).as_py():
        return texts, 0
    # zeros that are cut take nothing from the value
    lost = pc.sum(pc.match_substring_regex(texts, rf"{kept}\d*[1-9]")).as_py() or 0
    if wanted.fraction_digits == 0:
        return pc.replace_substring_regex(texts, r"\.\d+", ""), lost
    return pc.replace_substring_regex(texts, rf"({kept})\d+", r"\1"), lost


def prepare_array(texts: pa.Array, column: AlignedColumn, prepared: Prepared, chunk: Chunk) -> pa.Array:
    """PostgreSQL's array literals, from JSON or from such literals; checks each element against its type's format."""
    wanted = column.format
    literals: list[str | None] = []
    for index, text in enumerate(texts.to_pylist()):
        try:
            literals.append(None if text is None else prepare_elements(text, wanted, prepared, column.name))
        except NotAnArray:
            literals.append(None)
            reason = f"expected an array, each element {wanted.expected or 'text'}"
            prepared.rejected.setdefault(int(chunk.numbers[index]), (column.name, reason))
    return pa.array(literals, pa.string())


def prepare_elements(text: str, wanted: Format, prepared: Prepared, name: str) -> str:
    """One array's literal.

    Raises:
        NotAnArray: the text is not an array, or an element does not fit.
    """
    nested, flat = elements(text, as_json=wanted.staged_as in {"json", "jsonb"})
    values = pa.array(flat, pa.string())
    if pc.any(invalid_texts(values, wanted)).as_py():
        raise NotAnArray
    values, cut = truncated(values, wanted)
    prepared.cut[name] += cut
    kept = values.to_pylist()
    return array_literal(nested, iter([to_utc(value) for value in kept] if wanted.as_utc else kept))
