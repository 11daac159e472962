"""A key that comes twice: the newest row counts, whatever the table makes of its date."""

import pytest

from tests.support.loader import SCHEMA, Loader, counts, member

KEY = "lms_user_id uuid PRIMARY KEY, department_id uuid, first_name text"
DAY = "2026-01-0{}T00:00:00Z"
NEWER_AND_OLDER = [("01:00:00Z", "00:59:59Z"), ("00:00:00.51Z", "00:00:00.5Z"), ("00:00:00.5Z", "00:00:00Z")]
OFFSETS = [("00:30:00Z", "01:00:00+01:00"), ("00:00:00-00:30", "00:15:00")]


@pytest.mark.parametrize("edited", ["", ", date_edited text", ", date_edited date", ", date_edited timestamptz(0)"])
@pytest.mark.parametrize(("newer", "older"), NEWER_AND_OLDER + OFFSETS)
@pytest.mark.parametrize("newer_first", [True, False])
def test_the_newest_row_of_a_key_counts(loader: Loader, edited: str, newer: str, older: str, newer_first: bool) -> None:
    loader.create(KEY + edited)
    rows = [member(1, "new", f"2026-01-01T{newer}"), member(1, "old", f"2026-01-01T{older}")]
    loaded = loader.load(rows if newer_first else rows[::-1])
    assert counts(loaded) == {"read": 2, "inserted": 1, "duplicates": 1}
    assert [name for _, name in loader.rows()] == ["new"]


@pytest.mark.parametrize(("newer", "older"), NEWER_AND_OLDER)
def test_a_replay_knows_the_newer_row_by_a_date_that_is_kept_as_text(loader: Loader, newer: str, older: str) -> None:
    loader.create(f"{KEY}, date_edited text")
    loader.load([member(1, "new", f"2026-01-01T{newer}")])
    assert counts(loader.load([member(1, "old", f"2026-01-01T{older}")], replay=True)) == {"read": 1, "unchanged": 1}
    assert loader.rows()[0][1] == "new"


@pytest.mark.parametrize("edited", ["", ", date_edited timestamptz", ", date_edited text"])
def test_an_older_row_does_not_stand_in_for_a_newer_one_that_was_rejected(loader: Loader, edited: str) -> None:
    loader.create(f"{KEY}, gender integer{edited}")
    loader.load([member(1, "day 2", DAY.format(2))])
    rows = [member(1, "day 1", DAY.format(1)), member(1, "day 3", DAY.format(3), gender="x"), member(2)]
    loaded = loader.load(rows, on_departure="delete")
    assert counts(loaded) == {"read": 3, "inserted": 1, "duplicates": 1, "rejected": 1}
    assert [name for _, name in loader.rows()] == ["day 2", "Ada"]


def test_a_rejected_row_that_is_older_takes_nothing_away(loader: Loader) -> None:
    rows = [member(1, "day 3", DAY.format(3)), member(1, "day 1", DAY.format(1), gender="x")]
    assert counts(loader.load(rows)) == {"read": 2, "inserted": 1, "rejected": 1}
    assert loader.rows()[0][1] == "day 3"


DOMAINS = [
    ("text CHECK (VALUE = lower(VALUE))", "{}", "Ann"),
    ("varchar(9) CHECK (VALUE <> '')", "{}", ""),
    ("character(4) CHECK (VALUE LIKE 'a%')", "{}", "bob"),
    ("numeric(6,2) CHECK (VALUE > 0)", "{}", "-1.5"),
    ("timestamp(0) CHECK (VALUE > '2000-01-01')", "{}", "1999-12-31T23:59:59Z"),
    ("double precision CHECK (VALUE < 10)", "{}", "11.5"),
    ("money CHECK (VALUE > 0::money)", "{}", "-1.50"),
    ("inet CHECK (family(VALUE) = 4)", "{}", "::1"),
    ("point CHECK (VALUE[0] > 0)", "{}", "(-1,2)"),
    ("text CHECK (VALUE <> 'x')", "{}[]", '["a", "x"]'),
    ("text[] CHECK (cardinality(VALUE) < 2)", "{}", '["a", "b"]'),
    ("text NOT NULL", "{}", None),
]


@pytest.mark.parametrize(("domain", "column", "value"), DOMAINS)
def test_rows_that_a_domain_refuses_are_rejected_before_duplicates_are_found(
    loader: Loader, domain: str, column: str, value: str | None
) -> None:
    named = f'"{SCHEMA}".of_gender'
    loader.database.query(f"CREATE DOMAIN {named} AS {domain}")
    loader.create(f"{KEY}, gender {column.format(named)}")
    rows = [member(1, "a", gender=value), member(1, "b", gender=value)]
    assert counts(loader.load(rows)) == {"read": 2, "rejected": 2}
    expected = "must have a value" if "NOT NULL" in domain else "violates a check of type of_gender"
    assert loader.rejects[0].decode().count(f'"gender","{expected}') == 2
