"""Two values are the same when the column stores the same text; JSON goes by value."""

import psycopg2
import pytest

from tests.support.loader import TABLE, Loader, counts, member, uid


def load_twice(loader: Loader, kind: str, before: str | None, after: str | None) -> tuple[dict[str, int], str]:
    loader.create(f"lms_user_id uuid PRIMARY KEY, value {kind}")
    loader.load([{"lms_user_id": uid(1), "value": before}])
    second = loader.load([{"lms_user_id": uid(1), "value": after}])
    return counts(second), loader.rows("value::text")[0][0]


@pytest.mark.parametrize(
    ("kind", "before", "after", "stored"),
    [
        ("numeric", "1.0", "1.00", "1.00"),
        ("numeric(9,2)", "1.1", "1.2", "1.20"),
        ("double precision", "0", "-0", "-0"),
        ("interval", "1 day", "24:00:00", "24:00:00"),
        ("text", "MCDONALD", "McDonald", "McDonald"),
        ("bpchar", "a", "a ", "a"),
        ("numeric[]", "[1.0]", "[1.00]", "{1.00}"),
        ("json", '{"a":1}', '{"a":2}', '{"a":2}'),
        ("json", '{"a":"\\u0000"}', '{"a":"\\u0000","b":1}', '{"a":"\\u0000","b":1}'),
        ("jsonb", '{"a":"1.0"}', '{"a":"1.00"}', '{"a": "1.00"}'),
    ],
)
def test_another_text_is_another_value(loader: Loader, kind: str, before: str, after: str, stored: str) -> None:
    assert load_twice(loader, kind, before, after) == ({"read": 1, "updated": 1}, stored)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("timestamp(0)", "2024-12-31T23:59:59.7Z", "2024-12-31T23:59:59.7Z"),
        ("timestamptz", "2024-12-31T23:59:59.9999999Z", "2024-12-31T23:59:59.9999999Z"),
        ("timestamptz(3)[]", '["2024-12-31T23:59:59.9999999Z"]', '["2024-12-31T23:59:59.9999Z"]'),
        ("time(2)", "23:59:59.999", "23:59:59.999"),
        ("character(5)", "abc", "abc"),
        ("jsonb", '{"a": 1.0, "b": [1]}', '{"b":[1],"a":1.00}'),
        ("json", '{"a": 1.0, "b": [1]}', '{"b":[1],"a":1.00}'),
        ("json", '{"a":1e999999}', '{"a":1e999999}'),
        ("uuid", "7C7A2F0E-0D5C-4A53-8A0C-1D7C5F0E9B22", "{7c7a2f0e0d5c4a538a0c1d7c5f0e9b22}"),
        ("real", "0.1", "0.1"),
        ("money", "1.5", "1.50"),
        ("point", "(1,2)", "(1,2)"),
        ("text[]", '["a",null]', "{a,NULL}"),
    ],
)
def test_a_second_load_of_the_same_rewrites_nothing(loader: Loader, kind: str, before: str, after: str) -> None:
    assert load_twice(loader, kind, before, after)[0] == {"read": 1, "unchanged": 1}


def icu(loader: Loader) -> None:
    try:
        loader.database.query(
            "CREATE COLLATION IF NOT EXISTS nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    except psycopg2.errors.FeatureNotSupported:
        pytest.skip("the embedded PostgreSQL was built without ICU; TEST_DATABASE_URL names another")


def test_letter_case_counts_under_a_collation_that_ignores_it(loader: Loader) -> None:
    icu(loader)
    assert load_twice(loader, "text COLLATE nocase", "MCDONALD", "McDonald") == ({"read": 1, "updated": 1}, "McDonald")


def test_a_key_that_differs_in_letter_case_alone_is_written_as_the_file_has_it(loader: Loader) -> None:
    icu(loader)
    loader.create("lms_user_id text COLLATE nocase PRIMARY KEY, value text")
    loader.load([{"lms_user_id": "ABC", "value": "x"}])
    assert counts(loader.load([{"lms_user_id": "abc", "value": "x"}])) == {"read": 1, "updated": 1}
    assert loader.rows("lms_user_id") == [("abc",)]


def test_cut_digits_are_reported_unless_they_were_zeros(loader: Loader) -> None:
    loader.create("lms_user_id uuid PRIMARY KEY, a timestamptz, b timestamp(0), c date")
    times = {"a": "2024-12-31T23:59:59.1234567Z", "b": "2024-12-31T23:59:59.0000Z", "c": "2024-12-31T23:59:59.7Z"}
    loaded = loader.load([{"lms_user_id": uid(n), **times} for n in range(3)])
    assert loaded.cut_columns == ("a (3 rows)",)
    assert loader.database.query(f"SELECT DISTINCT a::text, b::text, c::text FROM {TABLE}") == [
        ("2024-12-31 23:59:59.123456+00", "2024-12-31 23:59:59", "2024-12-31")
    ]


@pytest.mark.parametrize(
    "setting",
    [
        "extra_float_digits=-15",
        "IntervalStyle=iso_8601",
        "bytea_output=escape",
        "DateStyle=German",
        "TimeZone=Asia/Tokyo",
    ],
)
def test_what_a_role_sets_does_not_change_what_a_value_is(
    loader: Loader, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("PGOPTIONS", f"-c {setting}")
    loader.create(
        "lms_user_id uuid PRIMARY KEY, a double precision, b interval(3), c bytea, d timestamptz, e daterange"
    )
    row = {"a": "0.30000000000000004", "b": "1 day", "c": "\\x00ff", "d": "2026-01-01", "e": "[2020-01-01,2021-01-01)"}
    rows = [{"lms_user_id": uid(1), **row}]
    assert [counts(loader.load(rows)) for _ in range(2)] == [{"read": 1, "inserted": 1}, {"read": 1, "unchanged": 1}]


def test_replay_compares_the_edit_as_the_column_stores_it(loader: Loader) -> None:
    loader.create("lms_user_id uuid PRIMARY KEY, department_id uuid, first_name text, date_edited timestamp(0)")
    edited = "2024-12-31T23:59:59.7Z"
    rows = [
        {k: v for k, v in member(1, name, edited).items() if k in {"lms_user_id", "first_name", "date_edited"}}
        for name in ("a", "b")
    ]
    loader.load(rows[:1])
    assert counts(loader.load(rows[1:], replay=True)) == {"read": 1, "updated": 1}


@pytest.mark.parametrize("stored", ["\\udc00", "\\ud800", "\\u0000"])
def test_json_that_jsonb_cannot_store_holds_up_no_load(loader: Loader, stored: str) -> None:
    loader.create(
        "lms_user_id uuid PRIMARY KEY, department_id uuid, first_name text, notes json, departed_at timestamptz"
    )
    loader.load([member(1, notes=f'{{"a":"{stored}"}}'), member(2, notes=None)])
    loaded = loader.load([member(1, notes='{"a":"x"}'), member(2, notes=None)])
    assert counts(loaded) == {"read": 2, "updated": 1, "unchanged": 1}
