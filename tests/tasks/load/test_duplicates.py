"""A key that comes twice: the newest row counts, whatever the table makes of its date."""

import pytest

from tests.support.loader import Loader, counts, member

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
