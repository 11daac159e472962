"""Hashed columns: keyed hashes stand in the CSV in the place of values, and nothing else changes."""

import csv
import hmac
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from blocks.lms import LmsAccount
from sandbox.aws import BUCKET, SimulatedAws
from tasks import credentials
from tasks.columns import ColumnNames
from tasks.errors import ConfigError
from tasks.extract.flatten import FlatSnapshot, flatten_pages
from tasks.settings import Resolver, extract_settings
from tasks.streams import ENROLLMENTS, MEMBERS
from tests.support.snapshots import raw_snapshot
from tests.tasks.test_s3 import flat as plain_flat
from tests.tasks.test_s3 import publish

KEY = "0123456789abcdéf"
LMS = {
    "REST_API_URL": "https://rest.myabsorb.com",
    "LMS_USERNAME": "robot",
    "LMS_PASSWORD": "p",
    "LMS_PRIVATE_KEY": "k",
    "LMS_HASH_KEY": KEY,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LMS.items():
        monkeypatch.setenv(name, value)


def expected(text: str, key: str = KEY) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def flatten(folder: Path, hashed: set[str], *members: dict[str, Any]) -> FlatSnapshot:
    names = ColumnNames(hashed=frozenset(hashed))
    return flatten_pages.fn(raw_snapshot(folder, list(members)), names, folder / "members.csv")


def rows(flat: FlatSnapshot) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(flat.path.read_text(encoding="utf-8"), newline="")))


@pytest.mark.parametrize("name", ["emailAddress", "email_address", "EMAILADDRESS", "Email_Address"])
def test_a_hash_stands_in_the_place_of_each_value_and_null_stays_null(tmp_path: Path, name: str) -> None:
    values = ["ada@example.org", "", None, "Ünïcode\n", "ada@example.org"]
    flat = flatten(tmp_path, {name}, *({"id": str(n), "emailAddress": v, "city": v} for n, v in enumerate(values)))
    assert [row["email_address"] for row in rows(flat)] == [expected(v) if v is not None else "" for v in values]
    assert [row["city"] for row in rows(flat)] == [v or "" for v in values]
    assert flat.path.read_text(encoding="utf-8").splitlines()[3].count('""') == 0  # null is bare still
    assert flat.hashed_columns == ("email_address",)


def test_what_is_no_text_is_hashed_as_the_csv_would_have_it(tmp_path: Path) -> None:
    page = (
        b'{"totalItems":1,"users":[{"id":"a","supervisorId":"ABC","roleIds":["x", 1.50],"gender":1.0,"isAdmin":true}]}'
    )
    names = ColumnNames(hashed=frozenset({"supervisor_id", "roleIds", "gender", "is_admin"}))
    [plain] = rows(flatten_pages.fn(raw_snapshot(tmp_path, page), ColumnNames(), tmp_path / "plain.csv"))
    [row] = rows(flatten_pages.fn(raw_snapshot(tmp_path, page), names, tmp_path / "hashed.csv"))
    for column in ("supervisor_id", "role_ids", "gender", "is_admin"):
        assert row[column] == expected(plain[column]), column


@pytest.mark.parametrize("name", ["custom_fields.badgeNo", "customFields.badge_no", "CUSTOMFIELDS.BADGENO"])
def test_one_custom_field_is_hashed_and_the_others_keep_every_digit(tmp_path: Path, name: str) -> None:
    page = b'{"totalItems":1,"users":[{"id":"a","customFields":{"badgeNo":"\\u00e4 \\"7\\"","level":1.50,"x":null}}]}'
    names = ColumnNames(hashed=frozenset({name}))
    flat = flatten_pages.fn(raw_snapshot(tmp_path, page), names, tmp_path / "members.csv")
    [row] = rows(flat)
    assert json.loads(row["custom_fields"])["badgeNo"] == expected('ä "7"')
    assert '"level":1.50' in row["custom_fields"]
    assert flat.hashed_columns == (name,)


def test_the_whole_of_the_custom_fields_is_each_of_them(tmp_path: Path) -> None:
    page = b'{"totalItems":2,"users":[{"id":"a","customFields":{"a":"x","b":1.50,"c":[1]}},{"id":"b"}]}'
    names = ColumnNames(hashed=frozenset({"custom_fields"}))
    first, second = rows(flatten_pages.fn(raw_snapshot(tmp_path, page), names, tmp_path / "members.csv"))
    assert json.loads(first["custom_fields"]) == {"a": expected("x"), "b": expected("1.50"), "c": expected("[1]")}
    assert second["custom_fields"] == "{}"


def test_all_of_a_nested_object_is_hashed_by_its_own_name(tmp_path: Path) -> None:
    flat = flatten(tmp_path, {"contract"}, {"id": "a", "contract": {"no": "7", "by": {"name": "Ada"}}})
    [row] = rows(flat)
    assert (row["contract_no"], row["contract_by_name"]) == (expected("7"), expected("Ada"))


@pytest.mark.parametrize(
    "name", ["id", "lms_user_id", "ID", "departmentId", "department_id", "dateEdited", "date_hired", "lastLoginDate",
             "contract.startDate"],
)  # fmt: skip
def test_the_key_the_scope_and_dates_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be hashed"):
        ColumnNames(hashed=frozenset({name}))


@pytest.mark.parametrize("name", ["custom_fields.birthDate", "updated_by", "lms_user_id"])
def test_what_only_sounds_like_a_date_or_another_streams_key_is_not(name: str) -> None:
    assert ColumnNames(hashed=frozenset({name}), stream=ENROLLMENTS).hashed == {name}


def test_a_name_that_hashes_nothing_is_no_reason_to_publish_the_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LMS_HASH_COLUMNS names emailAdress, but department"):
        flatten(tmp_path, {"emailAdress", "userId"}, {"id": "a", "emailAddress": "ada@example.org"})


def test_a_column_of_the_other_stream_may_be_named(tmp_path: Path) -> None:
    assert flatten(tmp_path, {"courseName", "fullName"}, {"id": "a"}).hashed_columns == ()


def test_columns_without_a_key_or_with_a_short_one_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS_HASH_COLUMNS", "email_address")
    for key, problem in {
        "": "LMS_HASH_COLUMNS is set, but LMS_HASH_KEY is not",
        "15 characters..": "LMS_HASH_KEY must have at least 16 characters",
    }.items():
        monkeypatch.setenv("LMS_HASH_KEY", key)
        resolver = Resolver(None)
        extract_settings(resolver, MEMBERS, "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11", "b", "k.csv", None, None)
        assert any(problem in each for each in resolver.problems), resolver.problems
        assert all(not key or key not in each for each in resolver.problems)


def test_the_blocks_key_comes_before_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = {"rest_api_url": LMS["REST_API_URL"], "username": "u", "password": "p", "private_key": "k"}
    block = LmsAccount(**saved, hash_key="a key that is saved")  # type: ignore[arg-type]
    monkeypatch.setattr(credentials, "lms_account", lambda blocks: block)
    assert credentials.hash_key("set") == "a key that is saved"
    assert "a key that is saved" not in repr(block) + str(block)
    block.hash_key = None
    assert credentials.hash_key("set") == KEY


PATH = "members/{department_id}.csv"


@pytest.mark.parametrize("other", ["another key of 16", None])
def test_a_changed_key_is_refused_unless_it_is_meant(aws: SimulatedAws, tmp_path: Path, other: str | None) -> None:
    first = replace(plain_flat(tmp_path), hash_key_id="aaaa", hashed_columns=("city",))
    published = publish(first, PATH)
    head = aws.s3.head_object(Bucket=BUCKET, Key=published.object.key)
    assert head["Metadata"]["hash-key-id"] == "aaaa"
    second = replace(first, hash_key_id=other)
    with pytest.raises(ConfigError, match="allow_hash_change") as refused:
        publish(second, PATH)
    assert not refused.value.of_one_scope  # a run of many departments stops at once
    assert publish(first, PATH).previous_rows == 3
    assert publish(second, PATH, allow_hash_change=True).previous_rows == 3
    assert publish(second, PATH).previous_rows == 3


def test_hashing_that_begins_is_no_change(aws: SimulatedAws, tmp_path: Path) -> None:
    publish(plain_flat(tmp_path), PATH)
    publish(replace(plain_flat(tmp_path), hash_key_id="aaaa"), PATH)


def test_the_id_says_which_key_and_not_what_it_is(tmp_path: Path) -> None:
    member = {"id": "a", "city": "York"}
    first = flatten(tmp_path, {"city"}, member)
    assert first.hash_key_id not in (None, KEY)
    assert len(str(first.hash_key_id)) == 16


def test_a_custom_field_that_is_nowhere_is_named_and_not_reported_as_hashed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = {"custom_fields.badgeNumber", "custom_fields.badge_no"}
    flat = flatten(tmp_path, names, {"id": "a", "customFields": {"badgeNo": "7"}})
    assert flat.hashed_columns == ("custom_fields.badge_no",)
    assert "custom_fields.badgeNumber" in caplog.text and "no such custom field" in caplog.text


@pytest.mark.parametrize(
    ("names", "member"),
    [
        (ColumnNames({"dateEdited": "edited"}, hashed=frozenset({"edited"})), {"id": "a", "dateEdited": "2026-01-01"}),
        (ColumnNames(hashed=frozenset({"contract"})), {"id": "a", "contract": {"startDate": "2026-01-01"}}),
    ],
)
def test_no_other_name_hides_a_date(tmp_path: Path, names: ColumnNames, member: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="dates cannot be hashed"):
        flatten_pages.fn(raw_snapshot(tmp_path, [member]), names, tmp_path / "members.csv")


@pytest.mark.parametrize("key", [" " * 20, "0123456789abcde\udcff"])
def test_a_key_that_is_blank_or_no_text_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(credentials, "lms_account", lambda blocks: LmsAccount(
        rest_api_url=LMS["REST_API_URL"], username="u", password="p", private_key="k"  # type: ignore[arg-type]
    ))  # fmt: skip
    monkeypatch.setattr(credentials, "read_environment", lambda: {"LMS_HASH_KEY": key})
    with pytest.raises(ConfigError) as refused:
        credentials.hash_key(None)
    assert key not in str(refused.value)
    with pytest.raises(ValidationError):
        LmsAccount(rest_api_url=LMS["REST_API_URL"], username="u", password="p", private_key="k", hash_key=key)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["custom_fields.badge_no", "customFields.Badge No", "custom_fields.BADGE-NO"])
def test_blanks_and_dashes_of_a_custom_fields_name_are_as_underscores(tmp_path: Path, name: str) -> None:
    [row] = rows(flatten(tmp_path, {name}, {"id": "a", "customFields": {"Badge No": "7"}}))
    assert json.loads(row["custom_fields"]) == {"Badge No": expected("7")}
