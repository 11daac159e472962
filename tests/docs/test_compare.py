"""docs/compare_tables.sql: what two Lambdas did to values is counted as what it is."""

from typing import Any

import pytest

from sandbox.stack import ROOT
from tests.conftest import Database

COMPARE = (ROOT / "docs" / "compare_tables.sql").read_text(encoding="utf-8")
HEADS = ("same", "other_value", "blank_for_nothing", "only_in_new", "only_in_old")


@pytest.fixture
def compared(one_database: Database) -> dict[str, tuple[Any, ...]]:
    one_database.query("""
        CREATE TABLE was (lms_user_id text, notes text, number text, hired timestamp, active boolean, illum_id text);
        CREATE TABLE is_now (lms_user_id uuid, notes text, number text, hired timestamp, active boolean, added text);
        INSERT INTO was VALUES
            ('0000000A-0000-0000-0000-000000000000', ' ', '123', NULL, true, 'i'),
            ('0000000b-0000-0000-0000-000000000000', 'n', '7', '2026-03-01', true, 'i'),
            ('0000000c-0000-0000-0000-000000000000', ' ', '7', '2026-03-01', true, 'i');
        INSERT INTO is_now VALUES
            ('0000000a-0000-0000-0000-000000000000', NULL, '00123', '2026-03-01', NULL, 'x'),
            ('0000000b-0000-0000-0000-000000000000', 'n', '7', '2026-03-01', true, 'x'),
            ('0000000d-0000-0000-0000-000000000000', NULL, NULL, NULL, NULL, NULL),
            ('0000000e-0000-0000-0000-000000000000', NULL, NULL, NULL, NULL, NULL);
    """)
    try:
        rows = one_database.query(COMPARE.replace(":old", "was").replace(":new", "is_now").rstrip().rstrip(";"))
    finally:
        one_database.query("DROP TABLE was, is_now")
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize(
    ("column", "counts"),
    [
        ("notes", (1, 0, 1, 0, 0)),  # a space for nothing
        ("number", (1, 1, 0, 0, 0)),  # zeros lost
        ("hired", (1, 0, 0, 1, 0)),  # a date lost
        ("active", (1, 0, 0, 0, 1)),  # made true
        ("illum_id", (0, 0, 0, 0, 2)),  # a column of the old table alone
        ("added", (0, 0, 0, 2, 0)),
        ("(members only in the old table)", (None, None, None, None, 1)),
        ("(members only in the new table)", (None, None, None, 2, None)),
    ],
)
def test_each_kind_of_difference_is_counted(
    compared: dict[str, tuple[Any, ...]], column: str, counts: tuple[Any, ...]
) -> None:
    assert dict(zip(HEADS, compared[column], strict=True)) == dict(zip(HEADS, counts, strict=True))
