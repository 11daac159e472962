"""Whether each text has its column's shape: asked by pandas, on columns, before PostgreSQL may guess."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from tasks.align import AlignedColumn, Alignment
from tasks.records import Chunk

NUL = "a character that PostgreSQL can store (NUL is none)"


def misshapen_rows(chunk: Chunk, alignment: Alignment) -> dict[int, tuple[str, str]]:
    """0-based index in the chunk to column and reason, for rows whose text PostgreSQL would guess at.

    Raises:
        pa.ArrowInvalid: the chunk is not CSV of that many fields.
    """
    misshapen: dict[int, tuple[str, str]] = {}
    if b"\0" in chunk.data:
        for index, record in enumerate(chunk.records()):
            if b"\0" in record.data:
                field = next((n for n, text in enumerate(record.fields()) if "\0" in text), 0)
                misshapen[index] = (alignment.columns[field].name, f"expected {NUL}")
    shaped = {str(n): column for n, column in enumerate(alignment.columns) if column.shape is not None}
    frame = read_columns(chunk.data, len(alignment.columns), list(shaped) or ["0"])
    for number, column in shaped.items():
        for row in misfits(frame[number], column):
            misshapen.setdefault(int(row), (column.name, f"expected {column.expected}"))
    return misshapen


def read_columns(data: bytes, width: int, columns: list[str]) -> pd.DataFrame:
    """Some columns, by their number, of headless CSV as text; null and the empty string stay apart."""
    table = pa.csv.read_csv(
        io.BytesIO(data),
        read_options=pa.csv.ReadOptions(
            column_names=[str(number) for number in range(width)], block_size=len(data) + 1, use_threads=False
        ),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa.csv.ConvertOptions(
            include_columns=columns,
            column_types={column: pa.string() for column in columns},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def misfits(texts: "pd.Series[str]", column: AlignedColumn) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """The indexes of the texts that do not have the column's shape; null has any."""
    fits = texts.str.match(f"^(?:{column.shape})$").fillna(True).to_numpy(dtype=bool)
    return np.flatnonzero(~fits)
