"""A snapshot of which some rows have changed since the last load."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tasks.load.records import read_header


def write_changed(csv: Path, path: Path, changes: Iterable[tuple[str, int, str]]) -> Path:
    """Write the CSV to `path` with some changes made in turn: a column, one row out of how many, the new value."""
    types = dict.fromkeys(read_header(csv), pa.string())
    read = pa.csv.ConvertOptions(
        column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
    )
    table = pa.csv.read_csv(csv, parse_options=pa.csv.ParseOptions(newlines_in_values=True), convert_options=read)
    rows = pa.array(range(len(table)))
    for column, every, value in changes:
        is_changed = pc.equal(pc.multiply(pc.divide(rows, every), every), rows)
        changed = pc.if_else(is_changed, value, table[column])
        table = table.set_column(table.column_names.index(column), column, changed)
    pa.csv.write_csv(table, path, pa.csv.WriteOptions(quoting_style="all_valid"))
    return path
