"""From pages to one CSV: names, nulls and digits."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.columns import ColumnNames, snake_case
from tasks.errors import ConfigError
from tasks.extract.flatten import FlatSnapshot, flatten_pages
from tasks.extract.pages import NotAPage
from tasks.streams import ENROLLMENTS, MEMBERS
from tests.support.snapshots import raw_snapshot

Page = list[dict[str, Any]] | bytes


def flatten(folder: Path, *pages: Page, names: ColumnNames | None = None) -> FlatSnapshot:
    return flatten_pages.fn(raw_snapshot(folder, *pages), names or ColumnNames(), folder / "members.csv")


def rows(flat: FlatSnapshot) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(flat.path.read_text(encoding="utf-8"), newline="")))


def line(flat: FlatSnapshot, number: int = 1) -> str:
    return flat.path.read_text(encoding="utf-8").splitlines()[number]


ONLY_ID = ColumnNames(excluded=frozenset(MEMBERS.keys) - {"id"})


def test_the_columns_have_the_tables_names(tmp_path: Path) -> None:
    flat = flatten(tmp_path, [{"id": "A"}])
    assert flat.columns[:4] == ("lms_user_id", "department_id", "first_name", "middle_name")
    assert {"user_name", "has_user_name", "address_2", "cc_email_addresses", "custom_fields"} <= set(flat.columns)
    assert len(flat.columns) == 37


@pytest.mark.parametrize(
    ("key", "column"),
    [("firstName", "first_name"), ("ccEmailAddresses", "cc_email_addresses"), ("isAdmin", "is_admin"),
     ("externalID", "external_id"), ("HTMLNotes", "html_notes"), ("already_snake", "already_snake")],
)  # fmt: skip
def test_keys_become_snake_case(key: str, column: str) -> None:
    assert snake_case(key) == column


def test_null_empty_and_absent_are_told_apart_by_quotes(tmp_path: Path) -> None:
    names = ColumnNames(excluded=frozenset(MEMBERS.keys) - {"id", "notes", "city", "phone"})
    flat = flatten(tmp_path, [{"id": "a", "notes": "", "city": None}], names=names)
    assert flat.columns == ("lms_user_id", "city", "phone", "notes")
    assert line(flat) == '"a",,,""'


def test_guids_are_lower_case_and_other_values_are_not(tmp_path: Path) -> None:
    member = {"id": "9E2B", "departmentId": "5B0C", "supervisorId": "3C1D", "externalId": "1E10"}
    [row] = rows(flatten(tmp_path, [member]))
    assert (row["lms_user_id"], row["department_id"], row["supervisor_id"], row["external_id"]) == (
        "9e2b", "5b0c", "3c1d", "1E10",
    )  # fmt: skip


def test_every_json_value_keeps_its_text(tmp_path: Path) -> None:
    page = (
        b'{"totalItems":1,"users":[{"id":"a","languageId":12345678901234567890123,"gender":1.50,"activeStatus":1E5,'
        b'"isAdmin":true,"isManager":false,"roleIds":["x","\xc3\xa9"],"ccEmailAddresses":[],"notes":"-0"}]}'
    )
    [row] = rows(flatten(tmp_path, page))
    assert (row["language_id"], row["gender"], row["active_status"]) == ("12345678901234567890123", "1.50", "1E5")
    assert (row["is_admin"], row["is_manager"]) == ("true", "false")
    assert (row["role_ids"], row["cc_email_addresses"], row["notes"]) == ('["x","é"]', "[]", "-0")


def test_custom_fields_drop_nulls_and_keep_every_digit(tmp_path: Path) -> None:
    page = (
        b'{"totalItems":1,"users":[{"id":"a","customFields":{"decimal1":8675309.00,"decimal2":1234567890123456789012345.10,'
        b'"string1":"Z\\u00fcrich","string2":null,"string3":"","bool1":false,"nested":{"x":[1.50,null]}}}]}'
    )
    [row] = rows(flatten(tmp_path, page))
    assert row["custom_fields"] == (
        '{"bool1":false,"decimal1":8675309.00,"decimal2":1234567890123456789012345.10,'
        '"nested":{"x":[1.50,null]},"string1":"Zürich","string3":""}'
    )


def test_equal_custom_fields_give_equal_text_whatever_came_before(tmp_path: Path) -> None:
    flat = flatten(
        tmp_path,
        [{"id": "a", "customFields": {"b": 1, "a": 2}}],
        [{"id": "b", "customFields": {"aa": 0, "a": 2, "b": 1}}],
    )
    assert [row["custom_fields"] for row in rows(flat)] == ['{"a":2,"b":1}', '{"a":2,"aa":0,"b":1}']


@pytest.mark.parametrize("key", ["", "naïve key", "field_0", "users", "😀"])
def test_a_key_may_be_almost_any_text(tmp_path: Path, key: str) -> None:
    [row] = rows(flatten(tmp_path, [{"id": "a", key: "x", "customFields": {key: "y"}}]))
    assert row[snake_case(key) or "unnamed"] == "x"
    assert json.loads(row["custom_fields"]) == {key: "y"}


@pytest.mark.parametrize("key", ['quo"te', "back\\slash", "new\nline"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_key_that_is_no_name_is_refused(tmp_path: Path, key: str, inside: bool) -> None:
    with pytest.raises(NotAPage, match="a key that contains a quote, a backslash or a control character"):
        flatten(tmp_path, [{"id": "a", "customFields": {key: "y"}} if inside else {"id": "a", key: "x"}])


@pytest.mark.parametrize("excluded", ["phone", "PHONE", "phone.home", "phone_home"])
def test_what_is_left_out_is_left_out_in_every_form_and_spelling(tmp_path: Path, excluded: str) -> None:
    names = ColumnNames(excluded=frozenset({excluded}))
    [row] = rows(flatten(tmp_path, [{"id": "a", "phone": {"home": "555"}, "city": "Hanoi"}], names=names))
    assert "555" not in row.values() and row["city"] == "Hanoi"


@pytest.mark.parametrize("key", ["fullName", "FullName", "full_name"])
def test_what_is_left_out_by_default_is_so_whatever_its_value(key: str) -> None:
    names = ColumnNames(stream=ENROLLMENTS)
    assert names.columns([key, f"{key}.first", "status"]) == {"status": "status"}
    assert "fullName" in ColumnNames({"fullName": "full_name"}, stream=ENROLLMENTS).columns(["fullName"])


def test_an_exclusion_that_leaves_nothing_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    flatten(
        tmp_path, [{"id": "a", "shoeSize": 43}], names=ColumnNames(excluded=frozenset({"nots", "shoe_size", "notes"}))
    )
    assert "LMS_EXCLUDE_COLUMNS names ['nots']" in caplog.text


@pytest.mark.parametrize("excluded", ['["notes"]', "notes;gender", "*", "a,b"])
def test_an_exclusion_that_is_no_name_is_a_wrong_setting(excluded: str) -> None:
    with pytest.raises(ConfigError, match="not a valid key or column name"):
        ColumnNames(excluded=frozenset({excluded}))


def test_no_key_of_the_lms_reaches_a_column_that_the_load_writes_itself(tmp_path: Path) -> None:
    [row] = rows(flatten(tmp_path, [{"id": "a", "departedAt": "2020-01-01", "rejectedLine": 7}]))
    assert (row["lms_departed_at"], row["lms_rejected_line"]) == ("2020-01-01", "7")
    assert "departed_at" not in row
    for name in ("departed_at", "", "a\0b", "a\ud800"):
        with pytest.raises(ConfigError, match="cannot be a CSV column"):
            ColumnNames({"notes": name})


@pytest.mark.parametrize("member", [{"id": "a"}, {"id": "a", "customFields": None}, {"id": "a", "customFields": {}}])
def test_no_custom_fields_are_an_empty_object(tmp_path: Path, member: dict[str, Any]) -> None:
    assert rows(flatten(tmp_path, [member]))[0]["custom_fields"] == "{}"


def test_an_unknown_key_is_carried_and_told_once_even_if_it_comes_late(tmp_path: Path) -> None:
    flat = flatten(tmp_path, [{"id": "a"}], [{"id": "b", "shoeSize": 43}], [{"id": "c", "shoeSize": 44, "hatSize": 7}])
    assert flat.unknown_keys == ("shoeSize", "hatSize")
    assert [row["shoe_size"] for row in rows(flat)] == ["", "43", "44"]


def test_nested_objects_flatten_with_underscores(tmp_path: Path) -> None:
    flat = flatten(tmp_path, [{"id": "a", "homeAddress": {"streetName": "x", "geo": {"lat": 1.0}}}, {"id": "b"}])
    assert [(row["home_address_street_name"], row["home_address_geo_lat"]) for row in rows(flat)] == [
        ("x", "1.0"), ("", ""),
    ]  # fmt: skip


def test_names_can_be_changed_and_columns_left_out(tmp_path: Path) -> None:
    names = ColumnNames({"externalId": "illum_id"}, frozenset({"notes", "has_user_name", "shoeSize"}))
    flat = flatten(tmp_path, [{"id": "a", "externalId": "7", "notes": "n", "shoeSize": 43}], names=names)
    assert rows(flat)[0]["illum_id"] == "7"
    assert not {"notes", "has_user_name", "external_id", "shoe_size"} & set(flat.columns)


def test_a_password_is_no_column_whatever_its_case(tmp_path: Path) -> None:
    flat = flatten(tmp_path, [{"id": "a", "password": "hunter2", "Password": "hunter3"}])
    assert "hunter" not in flat.path.read_text()


def test_two_keys_for_one_column_are_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'firstName' and 'first_name' would both become the column 'first_name'"):
        flatten(tmp_path, [{"id": "a", "first_name": "x"}])


@pytest.mark.parametrize("names", [({"id": "member"}, frozenset()), ({}, frozenset({"lms_user_id"}))])
def test_the_key_column_can_neither_be_renamed_nor_left_out(names: tuple[dict[str, str], frozenset[str]]) -> None:
    with pytest.raises(ConfigError, match="lms_user_id"):
        ColumnNames(*names)


def test_an_empty_department_is_a_header(tmp_path: Path) -> None:
    flat = flatten(tmp_path, [])
    assert flat.path.read_text().count("\n") == 1
    assert flat.rows == 0


def test_a_formula_stays_as_it_is(tmp_path: Path) -> None:
    assert rows(flatten(tmp_path, [{"id": "a", "notes": "=HYPERLINK(1)"}]))[0]["notes"] == "=HYPERLINK(1)"


def test_the_csv_is_for_this_user_alone(tmp_path: Path) -> None:
    assert flatten(tmp_path, [{"id": "a"}], names=ONLY_ID).path.stat().st_mode & 0o777 == 0o600
