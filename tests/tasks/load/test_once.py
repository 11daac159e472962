"""An object loads whole, once, and in order; or not at all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from sqlalchemy.pool.base import _ConnectionFairy

from tasks.errors import ObjectInvalid, Unreachable
from tasks.s3 import S3Object
from tasks.streams import MEMBERS, Scope
from tests.support.loader import Loader, counts, member, uid
from tests.support.snapshots import BEGAN, snapshot


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'"lms_user_id","first_name"\n"%s","a"\n"b"\n', "line 3: expected 2 CSV fields"),
        (b'"lms_user_id","first_name"\n"%s","a","c"\n', "line 2: expected 2 CSV fields"),
        (b'"lms_user_id","first_name"\n"%s","a\xff"\n', "line 2: expected 2 CSV fields in UTF-8"),
        (b'"lms_user_id","first_name"\n"%s","a\n', "line 2: expected every quote to be closed"),
        (b'"first_name"\n"a"\n', "line 1: expected a header"),
        (b'"lms_user_id","first_name"\n"%s","a"\n\n"%s","b"\n', "line 3: expected 2 CSV fields"),
    ],
)
def test_a_malformed_object_fails_whole_with_its_line(loader: Loader, content: bytes, says: str) -> None:
    path = loader.folder / "bad.csv"
    path.write_bytes(content.replace(b"%s", uid(1).encode()))
    with pytest.raises(ObjectInvalid, match=says):
        loader.load(snapshot(path, 1, rows=None))
    assert loader.rows() == []


def test_an_object_with_fewer_rows_than_its_metadata_says_fails(loader: Loader) -> None:
    source = replace(loader.snapshot([member(1), member(2)]), rows=3)
    with pytest.raises(ObjectInvalid, match="expected 3 rows, as its metadata says, found 2"):
        loader.load(source)
    assert loader.rows() == []


def test_a_file_with_windows_line_ends_and_bare_fields_loads(loader: Loader) -> None:
    path = loader.folder / "corrected.csv"
    path.write_bytes(f"\ufefflms_user_id,first_name\r\n{uid(1)},Ada\r\n{uid(2)},\r\n".encode())
    assert counts(loader.load(snapshot(path, 1, rows=None))) == {"read": 2, "inserted": 2}
    assert loader.rows() == [(uid(1), "Ada"), (uid(2), None)]


def test_the_same_event_twice_is_skipped_and_says_so(loader: Loader) -> None:
    source = loader.snapshot([member(1)])
    loader.load(source)
    again = loader.load(source)
    assert again.skipped == "already loaded (load 1 in lms_loads)"
    assert loader.ledger() == [(1,)]


def test_a_key_without_versions_that_returns_to_its_first_content_is_loaded_again(loader: Loader) -> None:
    first, second = (
        replace(loader.snapshot([member(1, name)], plain=True), object=S3Object("bucket", "by-hand.csv"))
        for name in ("A", "B")
    )
    assert [loader.load(each).skipped for each in (first, second, first)] == [None, None, None]
    assert loader.rows() == [(uid(1), "A")]
    assert loader.load(first).skipped == "already loaded (load 3 in lms_loads)"


def test_a_snapshot_from_the_future_changes_nothing(loader: Loader) -> None:
    source = replace(loader.snapshot([member(1)]), snapshot_at=datetime.now(UTC) + timedelta(days=400))
    with pytest.raises(ObjectInvalid, match="at most five minutes ahead of the database's clock"):
        loader.load(source, replay=True)
    assert (loader.rows(), loader.load([member(1)]).skipped) == ([], None)


@pytest.mark.parametrize("replay", [False, True])
def test_a_load_whose_commit_was_not_acknowledged_is_reported_by_the_retry(
    loader: Loader, monkeypatch: pytest.MonkeyPatch, replay: bool
) -> None:
    source = loader.snapshot([member(1), member(1), member(2, gender="x")])
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", "run-1")

    def lose_the_answer(connection: Any) -> None:
        connection.dbapi_connection.commit()
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch, pytest.raises(Unreachable):
        patch.setattr(_ConnectionFairy, "commit", lose_the_answer, raising=False)
        loader.load(source, replay=replay)
    again = loader.load(source, replay=replay)
    assert (again.skipped, counts(again)) == (None, {"read": 3, "inserted": 1, "duplicates": 1, "rejected": 1})
    assert again.rejects == S3Object("bucket", "members.csv.rejected/run.csv")
    assert loader.ledger() == [(1,)]


def test_an_older_snapshot_is_skipped_unless_it_is_replayed(loader: Loader) -> None:
    old, new = (
        loader.snapshot([member(1, "old"), member(2)]),
        loader.snapshot([member(1, "new", "2026-02-01T00:00:00Z")]),
    )
    loader.load(new)
    skipped = loader.load(old)
    assert skipped.skipped is not None
    assert "older than the snapshot of" in skipped.skipped
    assert counts(loader.load(old, replay=True)) == {"read": 2, "inserted": 1, "unchanged": 1}
    assert loader.rows() == [(uid(1), "new"), (uid(2), "Ada")]


@pytest.mark.parametrize("on_departure", ["mark", "delete"])
def test_a_replay_of_an_older_snapshot_takes_nobody_for_a_leaver(loader: Loader, on_departure: str) -> None:
    rows = [member(n) for n in range(1, 11)]
    old, new = loader.snapshot(rows), loader.snapshot([*rows[1:], member(11)])
    loader.load(old, on_departure=on_departure)
    loader.load(new, on_departure=on_departure)
    replayed = loader.load(old, on_departure=on_departure, replay=True)
    assert (replayed.departed, len(loader.rows())) == (0, 11)
    assert "members who joined since are not in this one" in replayed.departures_skipped
    assert loader.load(new, on_departure=on_departure, replay=True).departed == 1


def test_a_snapshot_in_order_replaces_even_a_row_edited_later(loader: Loader) -> None:
    loader.load([member(1, "late", "2026-05-01T00:00:00Z")])
    assert counts(loader.load([member(1, "restored", "2026-01-01T00:00:00Z")])) == {"read": 1, "updated": 1}


def test_the_ledger_adds_up_and_names_the_object(loader: Loader) -> None:
    loader.load([member(1), member(1), member(2, gender="x")])
    assert loader.ledger("object_key, version_id, rows_read, inserted, duplicates, rejected, rejects_key") == [
        ("members.csv", "version-1", 3, 1, 1, 1, "members.csv.rejected/run.csv")
    ]


def test_snapshots_of_two_departments_do_not_order_each_other(loader: Loader) -> None:
    loader.load([member(1)])
    other = replace(loader.snapshot([member(2)]), scope=Scope(MEMBERS, uid(5)), snapshot_at=BEGAN - timedelta(days=9))
    assert loader.load(other).skipped is None
