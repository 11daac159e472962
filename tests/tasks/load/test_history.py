"""History: each state of each row that the loads have left, from when until when."""

import random
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from sandbox.stack import ROOT
from tasks.errors import AuthError, SchemaMismatch
from tasks.load.loaded import Loaded
from tests.conftest import Database
from tests.support.loader import COLUMNS, SCHEMA, TABLE, Loader, Row, counts, member, uid

HISTORY = '"Business Tracking".department_members_history'


class Recorder:
    """Loads with history, and what the table was after each."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.states: list[tuple[datetime, list[tuple[Any, ...]]]] = []

    def load(self, rows: Any, **options: Any) -> Loaded:
        loaded = self.loader.load(rows, **{"history": True, **options})
        if options.get("history", True):
            self.note()
        return loaded

    def note(self) -> None:
        [(now,)] = self.loader.database.query("SELECT clock_timestamp()")
        self.states.append((now, self.table()))

    def table(self) -> list[tuple[Any, ...]]:
        return self.loader.database.query(f"SELECT lms_user_id, to_jsonb(t) FROM {TABLE} AS t ORDER BY 1")

    def as_of(self, moment: datetime) -> list[tuple[Any, ...]]:
        own = "to_jsonb(h) - '{valid_from,valid_to,change,load_id}'::text[]"
        return self.loader.database.query(
            f"SELECT lms_user_id, {own} FROM {HISTORY} AS h WHERE valid_from <= '{moment}' AND '{moment}' < valid_to "
            "ORDER BY lms_user_id"
        )

    def check(self) -> None:
        """The history is the table at each of its times, and what the ledger counts is in it."""
        for moment, state in self.states:
            assert self.as_of(moment) == state
        overlaps = (
            f"SELECT a.lms_user_id FROM {HISTORY} a JOIN {HISTORY} b USING (lms_user_id) WHERE a.ctid <> b.ctid "
            "AND a.valid_from < b.valid_to AND b.valid_from < a.valid_to AND a.valid_from < a.valid_to "
            "AND b.valid_from < b.valid_to"
        )
        assert self.loader.database.query(overlaps) == []

    def states_of(self, number: int) -> list[tuple[Any, ...]]:
        return self.loader.database.query(
            "SELECT first_name, change, valid_to = 'infinity', valid_to = valid_from, load_id "
            f"FROM {HISTORY} WHERE lms_user_id = '{uid(number)}' ORDER BY valid_from, valid_to"
        )

    def counted(self, load_id: int) -> dict[str, int]:
        return dict(
            self.loader.database.query(f"SELECT change, count(*) FROM {HISTORY} WHERE load_id = {load_id} GROUP BY 1")
        )


@pytest.fixture
def recorder(loader: Loader) -> Iterator[Recorder]:
    made = Recorder(loader)
    yield made
    made.check()


def test_each_state_begins_with_its_load_and_ends_with_the_next(recorder: Recorder) -> None:
    recorder.load([member(1), member(2)])
    recorder.load([member(1, "Bea"), member(2)])
    loaded = recorder.load([member(1, "Cid"), member(2), member(3)])
    assert recorder.states_of(1) == [
        ("Ada", "inserted", False, False, 1), ("Bea", "updated", False, False, 2), ("Cid", "updated", True, False, 3),
    ]  # fmt: skip
    assert recorder.states_of(2) == [("Ada", "inserted", True, False, 1)]
    assert loaded.history == f'2 rows added to "{SCHEMA}"."department_members_history"'


def test_nothing_is_written_without_it(loader: Loader) -> None:
    assert loader.load([member(1)]).history == ""
    assert loader.database.query(f"SELECT to_regclass('{HISTORY}')") == [(None,)]


def test_a_snapshot_without_changes_adds_nothing(recorder: Recorder) -> None:
    recorder.load([member(1)])
    assert recorder.load([member(1)]).history.startswith("0 rows")
    assert recorder.load([member(1)]).history.startswith("0 rows")


def test_a_marked_leaver_has_a_state_of_its_own_and_returns(recorder: Recorder) -> None:
    everybody = [member(n) for n in range(1, 10)]
    recorder.load(everybody, on_departure="mark")
    recorder.load(everybody[1:], on_departure="mark")
    recorder.load(everybody, on_departure="mark")
    assert [row[1:4] for row in recorder.states_of(1)] == [
        ("inserted", False, False), ("departed", False, False), ("returned", True, False),
    ]  # fmt: skip
    assert [recorder.counted(load) for load in (1, 2, 3)] == [{"inserted": 9}, {"departed": 1}, {"returned": 1}]


def test_a_deleted_leavers_last_state_ends_as_it_begins(recorder: Recorder) -> None:
    everybody = [member(n) for n in range(1, 10)]
    recorder.load(everybody)
    recorder.load(everybody[1:], on_departure="delete")
    recorder.load([member(1, "Bea"), *everybody[1:]], on_departure="delete")
    assert recorder.states_of(1) == [
        ("Ada", "inserted", False, False, 1), ("Ada", "departed", False, True, 2), ("Bea", "inserted", True, False, 3),
    ]  # fmt: skip


def test_a_kept_leaver_goes_on(recorder: Recorder) -> None:
    recorder.load([member(n) for n in range(1, 10)])
    recorder.load([member(n) for n in range(2, 10)])
    assert recorder.states_of(1) == [("Ada", "inserted", True, False, 1)]


def test_a_rejected_row_keeps_its_state(recorder: Recorder) -> None:
    recorder.load([member(1), member(2)])
    recorder.load([member(1, "Bea", gender="x"), member(2, "Bea")])
    assert recorder.states_of(1) == [("Ada", "inserted", True, False, 1)]
    assert recorder.states_of(2)[-1][:2] == ("Bea", "updated")


def test_a_row_that_the_table_refuses_keeps_its_state(recorder: Recorder) -> None:
    recorder.loader.database.query(f"ALTER TABLE {TABLE} ADD CHECK (first_name <> 'Bea'), ADD UNIQUE (gender)")
    recorder.load([member(1), member(2, gender="2")])
    recorder.load([member(1, "Bea"), member(2, "Cid", gender="2"), member(3, gender="2")])
    assert [row[0] for row in recorder.states_of(1)] == ["Ada"]
    assert recorder.states_of(3) == []


def test_values_that_swap_have_one_state_each(recorder: Recorder) -> None:
    recorder.loader.database.query(f"ALTER TABLE {TABLE} ADD UNIQUE (first_name)")
    recorder.load([member(1, "a"), member(2, "b"), member(3, "c")])
    recorder.load([member(1, "b"), member(2, "a"), member(3, "c")])
    assert [row[0] for row in recorder.states_of(1)] == ["a", "b"]
    assert [row[0] for row in recorder.states_of(2)] == ["b", "a"]


def test_a_stale_snapshot_is_skipped_and_a_replay_recorded(recorder: Recorder) -> None:
    old = recorder.loader.snapshot([member(1, "Bea")])
    recorder.load([member(1)])
    assert recorder.load(old).skipped
    assert len(recorder.states_of(1)) == 1
    recorder.load(old, replay=True)
    assert [row[0] for row in recorder.states_of(1)] == ["Ada", "Bea"]


def test_a_replay_leaves_newer_rows_and_their_states_alone(recorder: Recorder) -> None:
    old = recorder.loader.snapshot([member(1, "old"), member(2, "old")])
    recorder.load([member(1, "new", edited="2026-02-01T00:00:00Z"), member(2)])
    recorder.load(old, replay=True)
    assert [row[0] for row in recorder.states_of(1)] == ["new"]
    assert [row[0] for row in recorder.states_of(2)] == ["Ada", "old"]


def test_switched_on_late_the_table_as_it_is_comes_first(recorder: Recorder) -> None:
    recorder.loader.load([member(1), member(2), member(3)])
    [(before,)] = recorder.loader.database.query("SELECT clock_timestamp()")
    recorder.load([member(1, "Bea"), member(2)], on_departure="delete", max_departures="50%")
    assert recorder.as_of(before) == []
    assert recorder.states_of(1) == [("Ada", "inserted", False, False, 2), ("Bea", "updated", True, False, 2)]
    assert recorder.states_of(2) == [("Ada", "inserted", True, False, 2)]
    assert recorder.states_of(3) == [("Ada", "inserted", False, False, 2), ("Ada", "departed", False, True, 2)]
    assert recorder.load([member(1, "Bea"), member(2)]).history.startswith("0 rows")


def test_what_changed_while_it_was_off_is_caught_up_with(recorder: Recorder) -> None:
    everybody = [member(n) for n in range(10, 20)]
    recorder.load([*everybody, member(1), member(2), member(3)], on_departure="mark")
    off = {"history": False, "max_departures": "50%"}
    recorder.load([*everybody, member(1, "Bea"), member(3)], on_departure="delete", **off)
    recorder.load([*everybody, member(1, "Bea"), member(4)], on_departure="mark", **off)
    recorder.load([*everybody, member(1, "Cid"), member(4)], on_departure="mark")
    assert [row[:4] for row in recorder.states_of(1)] == [
        ("Ada", "inserted", False, False), ("Bea", "updated", False, False), ("Cid", "updated", True, False),
    ]  # fmt: skip
    assert [row[1:4] for row in recorder.states_of(2)] == [("inserted", False, False), ("departed", False, True)]
    assert [row[1:4] for row in recorder.states_of(3)] == [("inserted", False, False), ("departed", True, False)]
    assert [row[1:4] for row in recorder.states_of(4)] == [("inserted", True, False)]


def test_columns_that_evolve_reach_the_history_and_its_view(recorder: Recorder) -> None:
    recorder.load([member(1)])
    recorder.load([member(1, badge="7")], schema_contract="evolve")
    found = recorder.loader.database.query(f"SELECT badge FROM {HISTORY} ORDER BY valid_from")
    assert found == [(None,), ("7",)]
    current = f'SELECT badge, change FROM "{SCHEMA}".department_members_history_current'
    assert recorder.loader.database.query(current) == [("7", "updated")]
    recorder.states.pop(0)  # the row of that time has the column now, too


def test_a_column_that_the_table_has_lost_stays_in_the_history(recorder: Recorder) -> None:
    recorder.load([member(1)])
    recorder.loader.database.query(f"ALTER TABLE {TABLE} DROP COLUMN gender")
    recorder.load([member(1, "Bea")])
    assert recorder.loader.database.query(f"SELECT gender FROM {HISTORY} ORDER BY valid_from") == [(1,), (None,)]
    recorder.states.clear()


def test_a_column_of_another_type_is_named_with_the_cure(recorder: Recorder) -> None:
    recorder.load([member(1)])
    recorder.loader.database.query(f"ALTER TABLE {TABLE} ALTER first_name TYPE text")
    with pytest.raises(SchemaMismatch, match='ALTER COLUMN "first_name" TYPE text') as error:
        recorder.load([member(1, "a longer name")])
    recorder.loader.database.query(str(error.value).partition("run: ")[2])
    recorder.load([member(1, "a longer name")])


@pytest.mark.parametrize("column", ["valid_from", "change"])
def test_a_table_with_a_column_of_such_a_name_has_no_history(loader: Loader, column: str) -> None:
    loader.create(f"lms_user_id uuid PRIMARY KEY, {column} text")
    with pytest.raises(SchemaMismatch, match=f"found {column}"):
        loader.load([{"lms_user_id": uid(1)}], history=True)
    loader.create("lms_user_id uuid PRIMARY KEY")
    with pytest.raises(SchemaMismatch, match=f"found {column}"):
        loader.load([{"lms_user_id": uid(1), column: "x"}], history=True, schema_contract="evolve")


def test_a_dry_run_leaves_no_trace_and_finds_what_stands_in_the_way(loader: Loader) -> None:
    assert loader.load([member(1)], history=True, dry_run=True).inserted == 1
    assert loader.database.query(f"SELECT to_regclass('{HISTORY}')") == [(None,)]
    loader.load([member(1)], history=True)
    loader.load([member(1, "Bea", badge="1")], history=True, dry_run=True, schema_contract="evolve")
    assert loader.database.query(f"SELECT first_name FROM {HISTORY}") == [("Ada",)]
    loader.database.query(f"ALTER TABLE {TABLE} ALTER first_name TYPE text")
    with pytest.raises(SchemaMismatch, match="first_name"):
        loader.load([member(1)], history=True, dry_run=True)


def test_rows_changed_by_hand_are_in_it_once_a_load_writes_them(recorder: Recorder) -> None:
    recorder.load([member(1), member(2), member(3), member(4)])
    recorder.loader.database.query(
        f"UPDATE {TABLE} SET first_name = 'by hand' WHERE lms_user_id <> '{uid(4)}'; DELETE FROM {TABLE} WHERE "
        f"lms_user_id = '{uid(3)}'; INSERT INTO {TABLE} (lms_user_id, first_name) VALUES ('{uid(5)}', 'by hand')"
    )
    recorder.states.clear()
    recorder.load([member(1), member(2, "Bea"), member(3), member(4), member(5)])
    assert [row[:2] for row in recorder.states_of(1)] == [("Ada", "inserted"), ("Ada", "updated")]
    assert [row[:2] for row in recorder.states_of(2)] == [("Ada", "inserted"), ("Bea", "updated")]
    assert [row[:2] for row in recorder.states_of(3)] == [("Ada", "inserted"), ("Ada", "inserted")]
    assert [row[:2] for row in recorder.states_of(5)] == [("Ada", "updated")]


def test_what_the_tables_trigger_makes_of_a_row_is_its_state(recorder: Recorder) -> None:
    recorder.loader.database.query(
        'CREATE OR REPLACE FUNCTION "Business Tracking".loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN '
        "new.first_name := upper(new.first_name); RETURN new; END $$; "
        f"CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION "
        '"Business Tracking".loud()'
    )
    recorder.load([member(1)])
    assert recorder.states_of(1)[0][0] == "ADA"


def test_rows_that_change_or_go_with_others_are_in_it(recorder: Recorder) -> None:
    recorder.loader.create(
        "lms_user_id uuid PRIMARY KEY, department_id uuid, first_name text, "
        f"boss uuid REFERENCES {TABLE} ON DELETE SET NULL, departed_at timestamptz"
    )
    of_another = {"lms_user_id": uid(9), "department_id": uid(7), "first_name": "Zoe", "boss": uid(1)}
    core: list[Row] = [{"lms_user_id": uid(n), "department_id": member(1)["department_id"], "first_name": "x",
             "boss": None} for n in range(1, 8)]  # fmt: skip
    recorder.load([*core, of_another])
    recorder.loader.database.query(
        f'CREATE FUNCTION "Business Tracking".tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE {TABLE} '
        f"SET first_name = 'told' WHERE lms_user_id = '{uid(9)}' AND first_name <> 'told'; RETURN NULL; END $$; "
        f'CREATE TRIGGER tell AFTER UPDATE ON {TABLE} FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION "Business Tracking".tell()'
    )
    recorder.load([{**core[0], "first_name": "y"}, *core[1:]])
    assert [row[:2] for row in recorder.states_of(9)] == [("Zoe", "inserted"), ("told", "updated")]


def test_a_clock_set_back_makes_no_state_that_ends_before_it_begins(recorder: Recorder) -> None:
    recorder.load([member(1)])
    recorder.loader.database.query(f"UPDATE {HISTORY} SET valid_from = valid_from + interval '1 hour'")
    recorder.load([member(1, "Bea")])
    assert [row[0] for row in recorder.states_of(1)] == ["Ada", "Bea"]
    found = recorder.loader.database.query(f"SELECT valid_to - valid_from FROM {HISTORY} ORDER BY valid_from LIMIT 1")
    assert 0 < found[0][0].microseconds < 10 and found[0][0].seconds == 0
    recorder.states.clear()


@pytest.mark.parametrize("loads_without", [0, 1, 2])
def test_a_ledger_that_was_lost_hides_no_load_without_history(recorder: Recorder, loads_without: int) -> None:
    recorder.load([member(1)])
    recorder.load([member(1, "Bea")])
    recorder.loader.database.query(f'DROP TABLE "{SCHEMA}".lms_loads')
    for number in range(loads_without):
        recorder.load([member(1, f"off {number}")], history=False)
    recorder.load([member(1, "Cid")])
    recorder.load([member(1, "Dan")])
    between = [f"off {loads_without - 1}"] if loads_without else []
    assert [row[0] for row in recorder.states_of(1)] == ["Ada", "Bea", *between, "Cid", "Dan"]


def test_a_row_that_a_trigger_drops_keeps_its_state(recorder: Recorder) -> None:
    recorder.load([member(1), member(2)])
    recorder.loader.database.query(
        'CREATE FUNCTION "Business Tracking".drop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; '
        f"CREATE TRIGGER drop BEFORE UPDATE ON {TABLE} FOR EACH ROW WHEN (old.lms_user_id = '{uid(1)}') "
        'EXECUTE FUNCTION "Business Tracking".drop()'
    )
    assert recorder.load([member(1, "Bea"), member(2, "Bea")]).rejected == 1
    assert [row[0] for row in recorder.states_of(1)] == ["Ada"]
    assert [row[0] for row in recorder.states_of(2)] == ["Ada", "Bea"]


def test_who_may_not_create_it_is_told_the_sql(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    loader.load([member(1)])
    owner = Database({**loader.database.variables, "BUSINESS_TRACKING_USER": "postgres"}, None)
    owner.query(
        "DROP ROLE IF EXISTS humble; CREATE ROLE humble LOGIN PASSWORD 'humble'; "
        f'GRANT USAGE ON SCHEMA "{SCHEMA}" TO humble; GRANT ALL ON ALL TABLES IN SCHEMA "{SCHEMA}" TO humble'
    )
    monkeypatch.setenv("BUSINESS_TRACKING_USER", "humble")
    monkeypatch.setenv("BUSINESS_TRACKING_PASSWORD", "humble")
    try:
        with pytest.raises(AuthError, match="run: CREATE TABLE") as error:
            loader.load([member(1, "Bea")], history=True)
        owner.query(str(error.value).partition("run: ")[2])
        loader.load([member(1, "Bea")], history=True)
        found = owner.query(f"SELECT first_name FROM {HISTORY} ORDER BY valid_from")
        assert found == [("Ada",), ("Bea",)]
    finally:
        owner.query("DROP OWNED BY humble; DROP ROLE humble")


@pytest.mark.parametrize("seed", range(3))
def test_at_any_time_it_is_the_table_as_of_then(recorder: Recorder, seed: int) -> None:
    chance = random.Random(seed)
    recorder.loader.database.query(f"ALTER TABLE {TABLE} ADD UNIQUE (first_name)")
    names = [*"abcdefgh", None, "too long for it"]
    for number in range(12):
        rows = [
            member(n, chance.choice(names), edited=f"2026-01-{chance.randint(1, 28):02}T00:00:00Z")
            for n in chance.sample(range(12), chance.randint(6, 12))
        ]
        left = chance.choice(["keep", "mark", "mark", "delete"])
        options = {"on_departure": left, "max_departures": "100%", "max_rejected": "100%", "max_emptied": "100%"}
        on = chance.random() < 0.8
        loaded = recorder.load(rows, **options, history=on)
        if on:
            known = recorder.counted(number + 1)
            wanted = {**counts(loaded), "updated": loaded.updated - loaded.returned}
            assert all(known.get(name, 0) >= wanted.get(name, 0) for name in ("inserted", "updated", "departed"))


# The cases of a published oracle of slowly changing dimensions: ingestr, its tests of the strategy `scd2`, by merge on a key.
SCD2 = [
    ("unchanged rows are left alone", [{1: "a", 2: "b"}, {1: "a", 2: "b"}], {1: ["a"], 2: ["b"]}, {1, 2}),
    ("a changed row is ended and begun anew", [{1: "a", 2: "b"}, {1: "z", 2: "b"}], {1: ["a", "z"], 2: ["b"]}, {1, 2}),
    ("a row that is missing is ended", [{1: "a", 2: "b"}, {2: "b"}], {1: ["a", "a"], 2: ["b"]}, {2}),
    ("a row that is new begins", [{1: "a"}, {1: "a", 3: "c"}], {1: ["a"], 3: ["c"]}, {1, 3}),
    ("one that comes back begins anew", [{1: "a", 2: "b"}, {2: "b"}, {1: "a", 2: "b"}], {1: ["a", "a", "a"]}, {1, 2}),
    ("all at once", [{1: "a", 2: "b", 3: "c"}, {1: "z", 3: "c", 4: "d"}], {1: ["a", "z"], 2: ["b", "b"], 4: ["d"]},
     {1, 3, 4}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "snapshots", "states", "current"), SCD2, ids=[case[0] for case in SCD2])
def test_slowly_changing_dimensions(
    recorder: Recorder, name: str, snapshots: list[dict[int, str]], states: dict[int, list[str]], current: set[int]
) -> None:
    for each in snapshots:
        recorder.load([member(n, value) for n, value in each.items()], on_departure="delete", max_departures="100%")
    for number, values in states.items():
        assert [row[0] for row in recorder.states_of(number)] == values
    view = f'SELECT lms_user_id FROM "{SCHEMA}".department_members_history_current'
    assert {row[0] for row in recorder.loader.database.query(view)} == {uid(number) for number in current}


@pytest.mark.parametrize("page", ["history.md", "operating.md"])
def test_the_documented_queries_run(recorder: Recorder, page: str) -> None:
    recorder.loader.create(f"{COLUMNS}, job_title text")
    recorder.load([member(1), member(2)])
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    queries = [query for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) for query in block.split(";\n")]
    queries = [query for query in queries if query.strip().startswith("SELECT")]
    assert len(queries) >= 2
    for query in queries:
        recorder.loader.database.query(f'SET search_path TO "{SCHEMA}"; {query}')


VIEW = f'"{SCHEMA}".department_members_history_current'


def test_a_view_that_was_dropped_comes_back_and_one_that_cannot_be_made_stops_no_load(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    query = recorder.loader.database.query
    recorder.load([member(1)])
    query(f"DROP VIEW {VIEW}")
    recorder.load([member(1, "Bea")])
    assert query(f"SELECT first_name FROM {VIEW}") == [("Bea",)]
    query(f"DROP VIEW {VIEW}; CREATE VIEW {VIEW} AS SELECT 1 AS other")
    recorder.load([member(1, "Cid", badge="1")], schema_contract="evolve")
    assert "could not be brought up to date" in caplog.text
    recorder.states.clear()


def test_a_domains_constraints_are_not_the_historys(recorder: Recorder) -> None:
    query = recorder.loader.database.query
    query(f"CREATE DOMAIN \"{SCHEMA}\".named AS varchar(10) NOT NULL CHECK (value <> 'x')")
    recorder.loader.create(f'lms_user_id uuid PRIMARY KEY, department_id uuid, first_name "{SCHEMA}".named, city text')
    core: Row = {"lms_user_id": uid(1), "department_id": member(1)["department_id"]}
    recorder.load([{**core, "first_name": "Ada", "city": "York"}])
    query(f"ALTER TABLE {TABLE} DROP COLUMN first_name")
    recorder.states.clear()
    recorder.load([{**core, "city": "Bath"}])
    query(f"ALTER TABLE {TABLE} ADD COLUMN nick \"{SCHEMA}\".named DEFAULT 'none'")
    recorder.states.clear()
    recorder.load([{**core, "city": "Wells"}])
    assert query(f"SELECT first_name, city, nick FROM {HISTORY} ORDER BY valid_from")[-1] == (None, "Wells", "none")
    recorder.states.clear()


@pytest.mark.parametrize("change", ["RENAME COLUMN gender TO sex", "ADD COLUMN region text DEFAULT 'EU'"])
def test_values_of_a_column_that_is_new_to_the_history_are_in_it(recorder: Recorder, change: str) -> None:
    recorder.load([member(1), member(2)])
    recorder.loader.database.query(f"ALTER TABLE {TABLE} {change}")
    recorder.states.clear()
    recorder.load([{name: value for name, value in member(n).items() if name != "gender"} for n in (1, 2)])
    column = change.split()[-1] if "RENAME" in change else "region"
    kept = recorder.loader.database.query(f"SELECT {column} FROM {VIEW} ORDER BY lms_user_id")
    assert kept == recorder.loader.database.query(f"SELECT {column} FROM {TABLE} ORDER BY lms_user_id")
    recorder.states.clear()


@pytest.mark.parametrize("dry_run", [False, True])
def test_another_table_of_that_name_is_left_alone(loader: Loader, dry_run: bool) -> None:
    loader.load([member(1)])
    loader.database.query(f"CREATE TABLE {HISTORY} (note text)")
    with pytest.raises(SchemaMismatch, match="found another table of that name"):
        loader.load([member(1, "Bea")], history=True, dry_run=dry_run)
    assert loader.database.query(
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'department_members_history'"
    ) == [(1,)]


def test_a_column_can_become_a_number(recorder: Recorder) -> None:
    recorder.loader.database.query(f"ALTER TABLE {TABLE} ADD COLUMN level text")
    recorder.load([member(1, level="7")])
    recorder.loader.database.query(f"ALTER TABLE {TABLE} ALTER level TYPE integer USING level::integer")
    with pytest.raises(SchemaMismatch, match="USING") as error:
        recorder.load([member(1, level="8")])
    recorder.loader.database.query(str(error.value).partition("run: ")[2])
    recorder.states.clear()
    recorder.load([member(1, level="8")])
    assert recorder.loader.database.query(f"SELECT level FROM {HISTORY} ORDER BY valid_from") == [(7,), (8,)]
