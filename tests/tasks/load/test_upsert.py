"""The upsert: counts that add up, and nothing rewritten that did not change."""

import pytest

from tasks.errors import AuthError, ConfigError, SchemaMismatch, TooManyRejected, Unreachable
from tasks.load.schema import inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tests.support.loader import COLUMNS, SCHEMA, TABLE, Loader, Row, counts, member, uid


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


def test_a_missing_table_says_how_to_make_it(loader: Loader) -> None:
    with pytest.raises(SchemaMismatch, match="--create-table"):
        inspect_schema.fn(SCHEMA, "elsewhere")
    planned = inspect_schema.fn(SCHEMA, "elsewhere", create_table=True)
    assert (len(planned.columns), planned.missing) == (38, True)
    source = loader.snapshot([member(1, "much longer than ten characters")])
    assert upsert_snapshot.fn(source, planned, LoadOptions(dry_run=True)).inserted == 1
    with pytest.raises(SchemaMismatch):  # neither looking nor a dry run makes it
        inspect_schema.fn(SCHEMA, "elsewhere")
    assert upsert_snapshot.fn(source, planned, LoadOptions()).inserted == 1
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
