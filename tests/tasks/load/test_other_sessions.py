"""Other sessions: readers are not held up, later edits are not overwritten, and what waiting cannot cure is said."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tasks.errors import LoadFailed, Unreachable
from tasks.load.compare import compare
from tests.support.loader import SCHEMA, TABLE, Loader, Row, counts, member, uid


class Reader:
    """An open transaction that has read the table, and so holds a lock on it."""

    def __init__(self, loader: Loader) -> None:
        self.connection = loader.database.connect()
        self.connection.cursor().execute(f"SELECT count(*) FROM {TABLE}")


def longest_read(loader: Loader, act: Callable[[], Any]) -> float:
    """How long the slowest of many reads took while `act` ran."""
    slowest, done = 0.0, threading.Event()

    def read() -> None:
        nonlocal slowest
        connection = loader.database.connect()
        connection.autocommit = True
        while not done.is_set():
            began = time.monotonic()
            connection.cursor().execute(f"SELECT count(*) FROM {TABLE}")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.01)
        connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        act()
    finally:
        done.set()
        thread.join()
    return slowest


def test_a_dry_run_with_evolve_neither_waits_for_a_reader_nor_adds_a_column(loader: Loader) -> None:
    loader.load([member(1)])
    reader = Reader(loader)
    began = time.monotonic()
    dry = loader.load([member(1, shoe_size="43"), member(2, shoe_size="44")], dry_run=True, schema_contract="evolve")
    assert (dry.inserted, dry.updated, dry.added_columns) == (1, 1, ("shoe_size",))
    assert time.monotonic() - began < 30
    reader.connection.close()
    assert "shoe_size" not in str(loader.database.query("SELECT array_agg(attname) FROM pg_attribute"))


def test_an_evolving_load_behind_an_open_reader_holds_up_others_for_moments_only(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.load.evolve.ALTER_TRIES", 2)
    monkeypatch.setattr("tasks.load.evolve.ALTER_WAIT_S", 1)
    loader.load([member(1)])
    reader = Reader(loader)

    def load() -> None:
        with pytest.raises(Unreachable, match="the table was in use on all 2 tries"):
            loader.load([member(1, shoe_size="43")], schema_contract="evolve")

    assert longest_read(loader, load) < 8
    reader.connection.close()
    assert loader.load([member(1, shoe_size="43")], schema_contract="evolve").added_columns == ("shoe_size",)


def late_edit(loader: Loader, monkeypatch: pytest.MonkeyPatch, name: str, edited: str) -> None:
    """Another session edits member 1 after the load has compared, and before it writes."""

    def compare_and_edit(*arguments: Any) -> Any:
        found = compare(*arguments)
        loader.database.query(
            f"UPDATE {TABLE} SET first_name = %s, date_edited = %s WHERE lms_user_id = %s", (name, edited, uid(1))
        )
        return found

    monkeypatch.setattr("tasks.load.changes.compare", compare_and_edit)


@pytest.mark.parametrize(("edited", "stays"), [("2026-03-01T00:00:00Z", True), ("2025-01-01T00:00:00Z", False)])
def test_a_replay_does_not_overwrite_what_another_session_made_newer_meanwhile(
    loader: Loader, monkeypatch: pytest.MonkeyPatch, edited: str, stays: bool
) -> None:
    loader.load([member(1), member(2)])
    late_edit(loader, monkeypatch, "late", edited)
    loaded = loader.load([member(1, "old", "2026-02-01T00:00:00Z"), member(2)], replay=True)
    assert counts(loaded) == {"read": 2, "unchanged": 2} if stays else {"read": 2, "updated": 1, "unchanged": 1}
    assert loader.rows()[0] == (uid(1), "late" if stays else "old")


def test_a_statement_timeout_is_named_and_not_tried_again(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    loader.database.query(
        f'CREATE FUNCTION "Business Tracking".slow() RETURNS trigger LANGUAGE plpgsql AS '
        "$$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$;"
        f'CREATE TRIGGER slow BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION "Business Tracking".slow()'
    )
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=400")
    with pytest.raises(LoadFailed, match="statement timeout.*ALTER ROLE .* SET statement_timeout") as caught:
        loader.load([member(1), member(2)])
    assert not caught.value.retriable


@pytest.mark.parametrize(
    ("raise_", "rows"),
    [("ERRCODE = '57014'", 1), ("ERRCODE = '53100'", 1), ("ERRCODE = '0A000'", 1), ("ERRCODE = '42501'", 1)],
)
def test_what_a_trigger_raises_under_a_servers_code_is_about_a_row_and_its_text_stays_out(
    loader: Loader, raise_: str, rows: int
) -> None:
    loader.database.query(
        f'CREATE FUNCTION "Business Tracking".no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN '
        f"IF NEW.first_name = 's3cret' THEN RAISE 'no %', NEW.first_name USING {raise_}, CONSTRAINT = NEW.first_name; END IF;"
        f' RETURN NEW; END $$; CREATE TRIGGER no BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION "Business Tracking".no()'
    )
    loaded = loader.load([member(1), member(2, "s3cret"), member(3)])
    assert counts(loaded) == {"read": 3, "inserted": 2, "rejected": rows}
    assert "s3cret" not in loaded.rejected_because


SECRETS: list[Row] = [
    {"lms_user_id": 'x" s3cret ada lovelace"'},
    {"gender": "s3cret"},
    {"date_edited": "s3cret 2026"},
    {"custom_fields": '{"s3cret": }'},
    {"first_name": "s3cret and too long"},
    {"department_id": "{s3cret}"},
]


@pytest.mark.parametrize("spoilt", SECRETS)
def test_no_reason_holds_a_value(loader: Loader, spoilt: Row) -> None:
    loaded = loader.load([member(1), {**member(2), **spoilt}])
    assert loaded.rejected == 1
    assert "s3cret" not in f"{loaded}"
    assert b"s3cret" not in loader.rejects[-1].splitlines()[1].split(b',"00000000')[0].split(b',"x"')[0]


@pytest.mark.parametrize("spelt", ["{%s}", "%s", "dashless", "UPPER"])
def test_a_rejected_row_is_no_leaver_however_its_key_is_spelt(loader: Loader, spelt: str) -> None:
    loader.load([member(n) for n in range(10)])
    key = {"dashless": uid(3).replace("-", ""), "UPPER": uid(3).upper()}.get(spelt) or spelt % uid(3)
    rows = [member(n) for n in range(10) if n != 3] + [{**member(3), "lms_user_id": key, "gender": "x"}]
    loaded = loader.load(rows, on_departure="delete")
    assert (loaded.rejected, loaded.departed, len(loader.rows())) == (1, 0, 10)


@pytest.mark.parametrize("key", [None, "", " ", "\t", "no uuid"])
def test_while_a_key_cannot_be_read_nobody_is_taken_for_a_leaver(loader: Loader, key: str | None) -> None:
    loader.load([member(n) for n in range(10)])
    loaded = loader.load([member(1), {**member(3), "lms_user_id": key}], on_departure="delete", max_departures="100%")
    assert (loaded.rejected, loaded.departed, len(loader.rows())) == (1, 0, 10)
    assert "nobody counts as a leaver" in loaded.departures_skipped


def test_a_database_of_repeatable_reads_loads_in_order(loader: Loader) -> None:
    """The load that waits would not see what the other has done."""
    loader.load([member(n) for n in range(1, 4)])
    loader.database.query(
        f'CREATE FUNCTION "{SCHEMA}".two_seconds() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); '
        f"RETURN NEW; END $$; CREATE TRIGGER two_seconds BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION "
        f'"{SCHEMA}".two_seconds()'
    )
    [[name]] = loader.database.query("SELECT current_database()")
    older = loader.snapshot([*(member(n) for n in range(1, 4)), member(9)])
    newer = loader.snapshot([*(member(n) for n in range(1, 4)), member(5)])
    loader.database.query(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    try:
        first = threading.Thread(target=lambda: loader.load(newer))
        first.start()
        time.sleep(1)
        second = loader.load(older)
        first.join()
    finally:
        loader.database.query(f"ALTER DATABASE {name} RESET default_transaction_isolation")
    assert second.skipped is not None
    assert uid(9) not in [key for key, _ in loader.rows()]


def test_a_database_that_quotes_every_name_loads(loader: Loader) -> None:
    [[name]] = loader.database.query("SELECT current_database()")
    loader.database.query(f"ALTER DATABASE {name} SET quote_all_identifiers = on")
    try:
        assert loader.load([member(1)]).inserted == 1
    finally:
        loader.database.query(f"ALTER DATABASE {name} RESET quote_all_identifiers")
