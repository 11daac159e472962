"""The load: counts that add up, nothing rewritten, nothing half done."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import (
    AuthError,
    ConfigError,
    ObjectInvalid,
    SchemaMismatch,
    TooManyDepartures,
    TooManyRejected,
    Unreachable,
)
from tasks.options import LoadOptions
from tasks.rejects import reject_file
from tasks.s3 import S3Object, Snapshot
from tasks.schema import inspect_schema
from tasks.upsert import Loaded, upsert_members
from tests.conftest import Database
from tests.tasks.snapshots import snapshot, write_csv

SCHEMA = "Business Tracking"
TABLE = '"Business Tracking".department_members'
DEPARTMENT = "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11"
COLUMNS = """
    lms_user_id uuid PRIMARY KEY, department_id uuid, first_name varchar(10), gender integer,
    date_edited timestamptz, custom_fields jsonb, departed_at timestamptz
"""
Row = dict[str, str | None]


class Loader:
    """A table in a schema with a space in its name, and snapshots loaded into it one after another."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.loads = 0
        self.rejects: list[bytes] = []
        database.query(f'DROP SCHEMA IF EXISTS "{SCHEMA}" CASCADE; CREATE SCHEMA "{SCHEMA}"')
        self.create(COLUMNS)

    def create(self, columns: str) -> None:
        self.database.query(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} ({columns})")

    def snapshot(self, rows: list[Row], *, plain: bool = False) -> Snapshot:
        self.loads += 1
        path = write_csv(self.folder / f"{self.loads}.csv", rows)
        return snapshot(path, self.loads, rows=None if plain else len(rows))

    def load(self, rows: list[Row] | Snapshot, **options: Any) -> Loaded:
        source = self.snapshot(rows) if isinstance(rows, list) else rows
        table = inspect_schema.fn(SCHEMA, "department_members")
        return upsert_members.fn(source, table, LoadOptions(**options))

    def rows(self, columns: str = "lms_user_id, first_name") -> list[tuple[Any, ...]]:
        return self.database.query(f"SELECT {columns} FROM {TABLE} ORDER BY lms_user_id")

    def ledger(self, columns: str = "count(*)") -> list[tuple[Any, ...]]:
        return self.database.query(f'SELECT {columns} FROM "{SCHEMA}".lms_loads')


@pytest.fixture
def loader(one_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loader]:
    for name, value in one_database.environment().items():
        monkeypatch.setenv(name, value)
    made = Loader(one_database, tmp_path)

    def keep(source: Snapshot, rejected: Any, blocks: Any) -> S3Object:
        header = source.path.read_text(encoding="utf-8").splitlines()[0].replace('"', "").split(",")
        made.rejects.append(reject_file(header, rejected))
        return S3Object("bucket", f"{source.object.key}.rejected/run.csv")

    monkeypatch.setattr("tasks.upsert.publish_rejects", keep)
    yield made


def uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def member(number: int, first_name: str | None = "Ada", edited: str = "2026-01-01T00:00:00Z", **more: Any) -> Row:
    core = {"lms_user_id": uid(number), "department_id": DEPARTMENT, "first_name": first_name}
    return {**core, "gender": "1", "date_edited": edited, "custom_fields": "{}", **more}


def counts(loaded: Loaded) -> dict[str, int]:
    return {name: number for name, number in loaded.counts().items() if number}


# Upsert


def test_new_changed_and_unchanged_rows_are_counted_apart(loader: Loader) -> None:
    assert counts(loader.load([member(1), member(2), member(3)])) == {"read": 3, "inserted": 3}
    second = loader.load([member(1), member(2, "Bea"), member(4)])
    assert counts(second) == {"read": 3, "inserted": 1, "updated": 1, "unchanged": 1}
    assert loader.rows() == [(uid(1), "Ada"), (uid(2), "Bea"), (uid(3), "Ada"), (uid(4), "Ada")]


def test_a_second_identical_load_rewrites_no_row(loader: Loader) -> None:
    rows = [member(number, custom_fields='{"a": 1.50, "b": null}') for number in range(20)]
    loader.load(rows)
    before = loader.rows("xmin, xmax, ctid, lms_user_id")
    assert counts(loader.load(rows)) == {"read": 20, "unchanged": 20}
    assert loader.rows("xmin, xmax, ctid, lms_user_id") == before


@pytest.mark.parametrize("pair", [(None, ""), ("", " "), ("a", "A"), (None, "x"), ("x", None)])
def test_every_difference_is_a_difference(loader: Loader, pair: tuple[str | None, str | None]) -> None:
    loader.load([member(1, pair[0])])
    assert counts(loader.load([member(1, pair[1])])) == {"read": 1, "updated": 1}
    assert loader.rows() == [(uid(1), pair[1])]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [("json", '{"a":1}', '{"a":2}'), ("text[]", '["a"]', '["b"]'), ("numeric", "1.5", "1.6"), ("varchar(3)", "a", "b"),
     ("timestamp", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"), ("point", "(1,2)", "(1,3)"), ("box", "(1,1),(0,0)", "(2,2),(0,0)")],
)  # fmt: skip
def test_types_of_every_kind_of_equality_are_compared(loader: Loader, kind: str, before: str, after: str) -> None:
    loader.create(f"lms_user_id uuid PRIMARY KEY, value {kind}")
    for text, expected in ((before, "inserted"), (before, "unchanged"), (after, "updated")):
        assert counts(loader.load([{"lms_user_id": uid(1), "value": text}])) == {"read": 1, expected: 1}


def test_columns_that_the_file_lacks_keep_their_values(loader: Loader) -> None:
    loader.create(COLUMNS + ", badge text DEFAULT 'none'")
    loader.load([member(1)])
    loader.database.query(f"UPDATE {TABLE} SET badge = 'gold'")
    loaded = loader.load([member(1, "Bea")])
    assert loader.rows("first_name, badge") == [("Bea", "gold")]
    assert loaded.untouched_columns == ("departed_at", "badge")


def test_columns_that_the_table_computes_are_left_to_it(loader: Loader) -> None:
    loader.create(
        "lms_user_id uuid PRIMARY KEY, first_name text, shout text GENERATED ALWAYS AS (upper(first_name)) STORED"
    )
    loaded = loader.load([{"lms_user_id": uid(1), "first_name": "ada", "shout": "x"}])
    assert loader.rows("shout") == [("ADA",)]
    assert loaded.ignored_columns == ("shout",)


def test_names_of_any_kind_are_quoted(loader: Loader) -> None:
    odd = ['we"ird', "100%", "SELECT", "sp ace", "{brace}", "ümlaut"]
    loader.create("lms_user_id uuid PRIMARY KEY, " + ", ".join('"' + n.replace('"', '""') + '" text' for n in odd))
    row: Row = {"lms_user_id": uid(1), **dict.fromkeys(odd, "x")}
    assert counts(loader.load([row])) == {"read": 1, "inserted": 1}
    assert counts(loader.load([{**row, "100%": "y"}])) == {"read": 1, "updated": 1}


def test_new_columns_are_added_when_the_contract_says_evolve(loader: Loader) -> None:
    loaded = loader.load([member(1, shoe_size="43", phone="007")], schema_contract="evolve")
    assert loaded.added_columns == ("shoe_size", "phone")
    assert loader.rows("shoe_size, phone") == [("43", "007")]


def test_of_a_repeated_key_the_newest_edit_wins_then_the_last_in_the_file(loader: Loader) -> None:
    loaded = loader.load(
        [
            member(1, "newest", "2026-03-01T00:00:00.5Z"),
            member(1, "older", "2026-03-01T00:00:00Z"),
            member(2, "first"),
            member(2, "last"),
            member(3, "none", edited=None),  # type: ignore[arg-type]
            member(3, "some"),
        ]
    )
    assert counts(loaded) == {"read": 6, "inserted": 3, "duplicates": 3}
    assert [name for _, name in loader.rows()] == ["newest", "last", "some"]


def test_an_empty_file_changes_nothing(loader: Loader) -> None:
    loader.load([member(1)])
    assert counts(loader.load([])) == {}
    assert len(loader.rows()) == 1


# The table


def test_a_missing_table_says_how_to_make_it(loader: Loader) -> None:
    with pytest.raises(SchemaMismatch, match="--create-table"):
        inspect_schema.fn(SCHEMA, "elsewhere")
    planned = inspect_schema.fn(SCHEMA, "elsewhere", create_table=True)
    assert (len(planned.columns), planned.missing) == (38, True)
    source = loader.snapshot([member(1, "much longer than ten characters")])
    assert upsert_members.fn(source, planned, LoadOptions(dry_run=True)).inserted == 1
    with pytest.raises(SchemaMismatch):  # neither looking nor a dry run makes it
        inspect_schema.fn(SCHEMA, "elsewhere")
    assert upsert_members.fn(source, planned, LoadOptions()).inserted == 1
    assert not inspect_schema.fn(SCHEMA, "elsewhere", create_table=True).missing


def test_a_missing_schema_is_told_apart(loader: Loader) -> None:
    with pytest.raises(SchemaMismatch, match='no schema "nowhere"'):
        inspect_schema.fn("nowhere", "department_members")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("id uuid PRIMARY KEY", "has no column lms_user_id"),
        ("lms_user_id uuid", "no unique constraint on lms_user_id alone"),
        ("lms_user_id uuid, n int, UNIQUE (lms_user_id, n)", "ADD UNIQUE"),
    ],
)
def test_a_table_without_a_usable_key_says_what_to_do(loader: Loader, columns: str, says: str) -> None:
    loader.create(columns)
    with pytest.raises(SchemaMismatch, match=says):
        inspect_schema.fn(SCHEMA, "department_members")


def test_a_unique_index_is_key_enough_and_a_partial_one_is_not(loader: Loader) -> None:
    loader.create("lms_user_id uuid, first_name text")
    loader.database.query(f"CREATE UNIQUE INDEX partial ON {TABLE} (lms_user_id) WHERE first_name IS NOT NULL")
    with pytest.raises(SchemaMismatch):
        inspect_schema.fn(SCHEMA, "department_members")
    loader.database.query(f"CREATE UNIQUE INDEX whole ON {TABLE} (lms_user_id)")
    assert counts(loader.load([{"lms_user_id": uid(1), "first_name": "Ada"}])) == {"read": 1, "inserted": 1}


# Rejected rows


def reasons(loader: Loader) -> list[str]:
    return [line.split(',"00')[0] for line in loader.rejects[-1].decode().splitlines()[1:]]


REFUSALS = [
    ("a cast", COLUMNS, {"gender": "x"}, '"gender","expected an integer"'),
    ("a range", COLUMNS, {"gender": "99999999999"}, '"gender","value … is out of range for type integer"'),
    ("a length", COLUMNS, {"first_name": "much too long a name"}, '"first_name","expected at most 10 characters"'),
    ("bad JSON", COLUMNS, {"custom_fields": "{x"}, '"custom_fields","invalid input syntax for type json"'),
    ("a NUL", COLUMNS, {"first_name": "a\0b"}, '"first_name","expected a character that PostgreSQL can store (NUL is none)"'),
    ("a key", COLUMNS, {"lms_user_id": None}, '"lms_user_id","null value in column '),
    ("NOT NULL", COLUMNS.replace("gender integer", "gender integer NOT NULL"), {"gender": None}, '"gender","null value in'),
    ("CHECK", COLUMNS.replace("gender integer", "gender integer CHECK (gender < 3)"), {"gender": "7"},
     '"","new row for relation ""department_members"" violates check constraint'),
    ("a foreign key", COLUMNS.replace("gender integer", 'gender integer REFERENCES "Business Tracking".genders'),
     {"gender": "7"}, '"gender","nothing to refer to (foreign key ""department_members_gender_fkey"")"'),
    ("a unique constraint", COLUMNS.replace("first_name varchar(10)", "first_name varchar(10) UNIQUE"),
     {"first_name": "name3"}, '"","duplicate key value violates unique constraint'),
    ("an enum", COLUMNS.replace("gender integer", 'gender "Business Tracking".sex'), {"gender": "7"}, '"gender","invalid input value for enum'),
    ("a trigger", COLUMNS, {"first_name": "forbidden"}, '"","refused by a trigger or function of the table (SQLSTATE P0001)"'),
    ("a trigger that is silent", COLUMNS, {"first_name": "swallowed"}, '"","the table dropped the row without an error'),
]  # fmt: skip
TRIGGER = f"""
CREATE FUNCTION "{SCHEMA}".guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.first_name = 'forbidden' THEN RAISE 'not %', NEW.first_name; END IF;
    IF NEW.first_name = 'swallowed' THEN RETURN NULL; END IF;
    RETURN NEW;
END $$;
"""


@pytest.mark.parametrize(
    ("columns", "bad", "says"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_whatever_refuses_a_row_it_is_set_aside_with_its_reason(
    loader: Loader, columns: str, bad: Row, says: str
) -> None:
    loader.database.query(
        f'CREATE TABLE "{SCHEMA}".genders (id integer PRIMARY KEY); INSERT INTO "{SCHEMA}".genders VALUES (1);'
        f"CREATE TYPE \"{SCHEMA}\".sex AS ENUM ('1'); {TRIGGER}"
    )
    loader.create(columns)
    loader.database.query(
        f'CREATE TRIGGER guard BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".guard()'
    )
    rows = [member(number, f"name{number}") for number in range(40)]
    rows[17] = {**rows[17], **bad}
    loaded = loader.load(rows)
    assert counts(loaded) == {"read": 40, "inserted": 39, "rejected": 1}
    [reason] = reasons(loader)
    assert reason.startswith(f"19,{says}")
    assert len(loader.rows()) == 39


def test_many_bad_rows_of_many_kinds_leave_exactly_the_good_ones(loader: Loader) -> None:
    loader.create(COLUMNS.replace("gender integer", "gender integer CHECK (gender < 3)"))
    rng = random.Random(7)
    spoilt: list[Row] = [{"gender": "x"}, {"gender": "9"}, {"first_name": "x" * 11}, {"date_edited": "today"}]
    bad = set(rng.sample(range(9000), 60))
    rows = [{**member(n), **(rng.choice(spoilt) if n in bad else {})} for n in range(9000)]
    loaded = loader.load(rows)
    assert counts(loaded) == {"read": 9000, "inserted": 8940, "rejected": 60}
    assert {row[0] for row in loader.rows()} == {uid(n) for n in range(9000)} - {uid(n) for n in bad}
    assert sorted(int(reason.split(",")[0]) for reason in reasons(loader)) == sorted(n + 2 for n in bad)


def test_rows_that_refer_to_each_other_are_not_refused_for_their_order(loader: Loader) -> None:
    loader.create(COLUMNS + f", supervisor_id uuid REFERENCES {TABLE}")
    rows = [member(n, supervisor_id=uid((n + 5000) % 10000)) for n in range(10000)]
    rows[77]["supervisor_id"] = uid(99999)
    rows[5077]["supervisor_id"] = None
    loaded = loader.load(rows)
    assert (loaded.rejected, loaded.inserted) == (1, 9999)


def test_line_numbers_count_the_lines_inside_quotes(loader: Loader) -> None:
    rows = [member(1, "a\nb\nc"), member(2), member(3, gender="x"), member(4, "much too long")]
    assert loader.load(rows, max_rejected="2").rejected == 2
    assert [reason.split(",")[0] for reason in reasons(loader)] == ["6", "7"]


def test_too_many_rejected_rows_change_nothing(loader: Loader) -> None:
    loader.load([member(1)])
    before = loader.rows("*")
    with pytest.raises(TooManyRejected, match="expected at most 10 rows.*gender: expected an integer"):
        loader.load([member(1, "Bea"), *(member(n, gender="x") for n in range(2, 20))])
    assert loader.rows("*") == before
    assert loader.ledger() == [(1,)]


@pytest.mark.parametrize(("limit", "passes"), [("0", False), ("2", False), ("3", True), ("30%", True), ("29%", False)])
def test_the_threshold_is_a_number_or_a_percentage(loader: Loader, limit: str, passes: bool) -> None:
    rows = [member(n, gender="x" if n < 3 else "1") for n in range(10)]
    if passes:
        assert loader.load(rows, max_rejected=limit).rejected == 3
    else:
        with pytest.raises(TooManyRejected):
            loader.load(rows, max_rejected=limit)


def test_a_mended_reject_file_loads_by_itself(loader: Loader) -> None:
    loader.load([member(1), member(2, 'a,"b"\nc', gender="x"), member(3, gender="y")])
    mended = loader.folder / "mended.csv"
    mended.write_bytes(loader.rejects[0].replace(b'"x"', b'"2"'))
    loaded = loader.load(snapshot(mended, 90, rows=None))
    assert counts(loaded) == {"read": 2, "inserted": 1, "rejected": 1}
    assert loader.rows()[1] == (uid(2), 'a,"b"\nc')
    assert loader.rejects[1].decode().splitlines()[0].count("rejected_line") == 1
    assert [reason.split(",")[0] for reason in reasons(loader)] == ["4"]


def test_no_message_and_no_report_holds_a_persons_data(loader: Loader) -> None:
    rows = [member(1), member(2, "Marker-Name-Too-Long"), member(3, gender="Marker-Gender")]
    loaded = loader.load(rows)
    assert "Marker" not in f"{loaded}"
    with pytest.raises(TooManyRejected) as caught:
        loader.load(rows, max_rejected="1")
    assert "Marker" not in str(caught.value)


# The object


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
    path = loader.folder / "mended.csv"
    path.write_bytes(f"\ufefflms_user_id,first_name\r\n{uid(1)},Ada\r\n{uid(2)},\r\n".encode())
    assert counts(loader.load(snapshot(path, 1, rows=None))) == {"read": 2, "inserted": 2}
    assert loader.rows() == [(uid(1), "Ada"), (uid(2), None)]


# Once, and in order


def test_the_same_event_twice_is_skipped_and_says_so(loader: Loader) -> None:
    source = loader.snapshot([member(1)])
    loader.load(source)
    again = loader.load(source)
    assert again.skipped == "already loaded (load 1 in lms_loads)"
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
    other = replace(loader.snapshot([member(2)]), department_id=uid(5), snapshot_at=snapshot_time(loader, -9))
    assert loader.load(other).skipped is None


def snapshot_time(loader: Loader, days: int) -> Any:
    from datetime import timedelta

    from tests.tasks.snapshots import BEGAN

    return BEGAN + timedelta(days=days)


# Leavers


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
        with pytest.raises(TooManyDepartures, match="found 3 absent"):
            loader.load(rows, on_departure="delete", max_departures=ceiling)
        assert {name for _, name in loader.rows()} == {"Ada"}


def test_marking_needs_its_column_and_says_so(loader: Loader) -> None:
    loader.create("lms_user_id uuid PRIMARY KEY, department_id uuid")
    with pytest.raises(SchemaMismatch, match="ADD COLUMN departed_at timestamptz"):
        loader.load([{"lms_user_id": uid(1)}], on_departure="mark")


# Dry run


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


# The database


def test_an_unreachable_database_is_worth_another_try(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSINESS_TRACKING_PORT", "9")
    with pytest.raises(Unreachable, match="BUSINESS_TRACKING_HOST"):
        inspect_schema.fn(SCHEMA, "department_members")


def test_a_wrong_password_is_not(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSINESS_TRACKING_PASSWORD", "wrong")
    with pytest.raises(AuthError, match="BUSINESS_TRACKING_PASSWORD") as caught:
        inspect_schema.fn(SCHEMA, "department_members")
    assert not caught.value.retriable


def test_a_database_that_does_not_exist_is_a_setting_to_mend(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSINESS_TRACKING_DBNAME", "nowhere")
    with pytest.raises(ConfigError, match="BUSINESS_TRACKING_DBNAME"):
        inspect_schema.fn(SCHEMA, "department_members")


def test_no_connection_is_left_open(loader: Loader) -> None:
    loader.load([member(1)])
    with pytest.raises(TooManyRejected):
        loader.load([member(1, gender="x")], max_rejected="0")
    left = loader.database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'department-members' AND state <> 'idle'"
    )
    assert left == [(0,)]
