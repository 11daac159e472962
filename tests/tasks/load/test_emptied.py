"""A column that empties stops the run, unless it is said to be right."""

from typing import Any

import pytest

from tasks.errors import ColumnEmptied
from tests.support.loader import COLUMNS, DEPARTMENT, SCHEMA, TABLE, Loader, counts, member, uid

PHONE = COLUMNS + ", phone text"


def people(number: int, **more: Any) -> list[dict[str, str | None]]:
    return [member(n, **more) for n in range(number)]


@pytest.mark.parametrize(
    ("stored", "left", "stops"),
    [(20, 0, True), (20, 10, False), (20, 9, True), (10, 0, False), (12, 0, True), (100, 49, True)],
)
def test_a_column_may_lose_half_of_its_values_or_ten(loader: Loader, stored: int, left: int, stops: bool) -> None:
    loader.create(PHONE)
    loader.load(people(stored, phone="1"))
    rows = [{**row, "phone": "1" if n < left else None} for n, row in enumerate(people(stored))]
    if stops:
        with pytest.raises(ColumnEmptied, match=rf"phone \({stored - left} of {stored}\)"):
            loader.load(rows)
        assert loader.rows("phone") == [("1",)] * stored
    else:
        assert loader.load(rows).updated == stored - left


@pytest.mark.parametrize(("limit", "stops"), [("100%", False), ("0", True), ("20", False), ("19", True), ("99%", True)])
def test_the_limit_is_a_number_or_a_percentage(loader: Loader, limit: str, stops: bool) -> None:
    loader.create(PHONE)
    loader.load(people(20, phone="1"))
    rows = people(20, phone=None)
    if stops:
        with pytest.raises(ColumnEmptied):
            loader.load(rows, max_emptied=limit)
    else:
        assert counts(loader.load(rows, max_emptied=limit)) == {"read": 20, "updated": 20}


@pytest.mark.parametrize("kept_as", ["jsonb", "json", "text", "varchar"])
def test_a_custom_field_counts_as_a_column(loader: Loader, kept_as: str) -> None:
    loader.create(COLUMNS.replace("custom_fields jsonb", f"custom_fields {kept_as}"))
    loader.load(people(20, custom_fields='{"cost centre": "7", "string2": "x"}'))
    with pytest.raises(ColumnEmptied, match=r"custom_fields\.cost centre \(20 of 20\)"):
        loader.load(people(20, custom_fields='{"string2": "x"}'))
    with pytest.raises(ColumnEmptied, match=r"custom_fields\.cost centre"):
        loader.load(people(20, custom_fields='{"cost centre": null, "string2": "x"}'))


@pytest.mark.parametrize(
    ("kept_as", "by_hand"),
    [("text", "not JSON"), ("text", '{"a"'), ("json", '{"a": "\\u0000"}'), ("json", '{"a": 1e99999}'), ("text", "[1]")],
)
def test_custom_fields_that_jsonb_cannot_hold_do_not_count(loader: Loader, kept_as: str, by_hand: str) -> None:
    loader.create(COLUMNS.replace("custom_fields jsonb", f"custom_fields {kept_as}"))
    loader.load(people(20, custom_fields='{"b": 1}'))
    loader.database.query(f"UPDATE {TABLE} SET custom_fields = %s", (by_hand,))
    loaded = loader.load(people(20, custom_fields='{"b": 1}'))
    assert loaded.updated == 20


def test_only_the_scopes_own_rows_are_counted(loader: Loader) -> None:
    loader.create(PHONE)
    loader.load([*people(12, phone="1"), *(member(n, phone="1", department_id=uid(7)) for n in range(50, 150))])
    with pytest.raises(ColumnEmptied, match=r"phone \(12 of 12\)"):
        loader.load(people(12, phone=None))


def test_of_a_plain_file_the_rows_whose_keys_it_holds_are_counted(loader: Loader) -> None:
    loader.create(PHONE)
    loader.load(people(100, phone="1"))
    with pytest.raises(ColumnEmptied, match=r"phone \(15 of 15\)"):
        loader.load(loader.snapshot(people(15, phone=None), plain=True))


def test_a_column_that_the_file_lacks_is_not_emptied(loader: Loader) -> None:
    loader.create(PHONE)
    loader.load(people(20, phone="1"))
    assert counts(loader.load(people(20))) == {"read": 20, "unchanged": 20}


def test_the_report_names_keys_that_are_new_or_have_vanished(loader: Loader) -> None:
    loader.create(PHONE + ", city text")
    loader.load(people(5, phone="1", city=None, custom_fields='{"a": 1}'))
    loaded = loader.load(people(5, phone=None, city="Oslo", custom_fields='{"b": 1}'))
    assert (loaded.new_keys, loaded.vanished_keys) == (("city", "custom_fields.b"), ("phone", "custom_fields.a"))


def test_a_first_load_reports_nothing_as_new(loader: Loader) -> None:
    assert loader.load(people(5)).new_keys == ()


def test_a_dry_run_stops_as_well(loader: Loader) -> None:
    loader.create(PHONE)
    loader.load(people(20, phone="1"))
    with pytest.raises(ColumnEmptied):
        loader.load(people(20, phone=None), dry_run=True)


def test_a_column_of_composite_values_some_of_whose_fields_are_null(loader: Loader) -> None:
    loader.database.query(f'CREATE TYPE "{SCHEMA}".named AS (first text, last text)')
    loader.create(f'lms_user_id uuid PRIMARY KEY, department_id uuid, name "{SCHEMA}".named')
    rows = [{"lms_user_id": uid(n), "department_id": DEPARTMENT} for n in range(30)]
    loader.load([{**row, "name": "(Ada,)"} for row in rows])
    with pytest.raises(ColumnEmptied, match=r"name \(30 of 30\)"):
        loader.load([{**row, "name": None} for row in rows])
