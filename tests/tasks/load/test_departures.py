"""Leavers, and what a dry run would do."""

import pytest

from tasks.errors import SchemaMismatch, TooManyDepartures
from tests.support.loader import TABLE, Loader, counts, member, uid


def test_leavers_are_kept_unless_told_otherwise(loader: Loader) -> None:
    loader.load([member(n) for n in range(10)])
    assert counts(loader.load([member(n) for n in range(9)])) == {"read": 9, "unchanged": 9}
    assert len(loader.rows()) == 10


def test_leavers_are_marked_and_cleared_when_they_return(loader: Loader) -> None:
    loader.load([member(n) for n in range(10)])
    left = loader.load([member(n) for n in range(9)], on_departure="mark")
    assert counts(left) == {"read": 9, "unchanged": 9, "departed": 1}
    assert loader.rows("departed_at IS NOT NULL, first_name")[9] == (True, "Ada")
    again = loader.load([member(n) for n in range(9)], on_departure="mark")
    assert counts(again) == {"read": 9, "unchanged": 9}
    back = loader.load([member(n) for n in range(10)], on_departure="mark")
    assert counts(back) == {"read": 10, "updated": 1, "unchanged": 9, "returned": 1}
    assert loader.rows("departed_at")[9] == (None,)


def test_leavers_are_deleted_only_within_the_department(loader: Loader) -> None:
    loader.load([*(member(n) for n in range(10)), member(50, department_id=uid(7))])
    assert counts(loader.load([member(n) for n in range(8)], on_departure="delete"))["departed"] == 2
    assert [row[0] for row in loader.rows()] == [*(uid(n) for n in range(8)), uid(50)]


def test_a_rejected_row_is_no_leaver(loader: Loader) -> None:
    loader.load([member(n) for n in range(10)])
    loaded = loader.load([member(n, gender="x" if n == 3 else "1") for n in range(10)], on_departure="delete")
    assert (loaded.rejected, loaded.departed, len(loader.rows())) == (1, 0, 10)


def test_a_plain_file_tells_of_no_departure(loader: Loader) -> None:
    loader.load([member(n) for n in range(10)])
    assert loader.load(loader.snapshot([member(1)], plain=True), on_departure="delete").departed == 0
    assert len(loader.rows()) == 10


@pytest.mark.parametrize(("ceiling", "passes"), [("20%", False), ("30%", True), ("3", True), ("2", False)])
def test_more_departures_than_the_ceiling_change_nothing(loader: Loader, ceiling: str, passes: bool) -> None:
    loader.load([member(n) for n in range(10)])
    rows = [member(n, "Bea") for n in range(7)]
    if passes:
        assert loader.load(rows, on_departure="delete", max_departures=ceiling).departed == 3
    else:
        with pytest.raises(TooManyDepartures, match="found 3 missing"):
            loader.load(rows, on_departure="delete", max_departures=ceiling)
        assert {name for _, name in loader.rows()} == {"Ada"}


def test_marking_needs_its_column_and_says_so(loader: Loader) -> None:
    loader.create("lms_user_id uuid PRIMARY KEY, department_id uuid")
    with pytest.raises(SchemaMismatch, match="ADD COLUMN departed_at timestamptz"):
        loader.load([{"lms_user_id": uid(1)}], on_departure="mark")


def test_a_dry_run_gives_the_real_counts_and_writes_nothing(loader: Loader) -> None:
    loader.load([member(n) for n in range(10)])
    before = loader.rows("xmin, *"), loader.ledger("max(load_id), count(*)")
    source = loader.snapshot(
        [*(member(n, "Bea" if n == 2 else "Ada") for n in range(9)), member(20, gender="x"), member(21)]
    )
    dry = loader.load(source, dry_run=True, on_departure="mark")
    assert (loader.rows("xmin, *"), loader.ledger("max(load_id), count(*)")) == before
    assert loader.rejects == []
    assert dry.differences == (f"{uid(2)}: first_name", f"{uid(21)}: new")
    assert counts(dry) == counts(loader.load(source, on_departure="mark"))


def test_a_dry_run_shows_values_only_when_asked(loader: Loader) -> None:
    loader.load([member(1)])
    dry = loader.load([member(1, None)], dry_run=True, show_values=True)
    assert dry.differences == (f"{uid(1)}: first_name 'Ada' -> null",)


def test_a_dry_run_lists_no_difference_of_a_row_that_the_table_refuses(loader: Loader) -> None:
    loader.database.query(f"ALTER TABLE {TABLE} ADD CHECK (gender < 3) NOT VALID")
    dry = loader.load([member(1), member(2, gender="7")], dry_run=True)
    assert (dry.inserted, dry.rejected, dry.differences) == (1, 1, (f"{uid(1)}: new",))
