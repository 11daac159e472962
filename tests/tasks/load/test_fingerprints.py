"""Records that need no staging are left out, and only they: after each load the table is the snapshot."""

from typing import Any

import pytest

from tasks.load import fingerprints, staging, upsert
from tests.support.loader import COLUMNS, SCHEMA, TABLE, Loader, counts, member, uid

BESIDE = f'"{SCHEMA}".department_members_fingerprints'
ROWS = [member(number, f"name {number}", city="York") for number in range(1, 9)]
TABLE_COLUMNS = COLUMNS + ", city text"
EVERY = "lms_user_id::text, first_name, gender, city, date_edited::text, custom_fields::text, departed_at"


@pytest.fixture
def loaded(loader: Loader) -> Loader:
    """A table into which eight rows were loaded, whose fingerprints are known."""
    loader.create(TABLE_COLUMNS)
    assert loader.load(ROWS).recognised == ""
    assert loader.load(ROWS).recognised == "8 rows"
    return loader


def with_change(number: int, **values: str) -> list[Any]:
    return [{**row, **values} if index == number else row for index, row in enumerate(ROWS)]


def test_only_what_changed_is_staged(loaded: Loader) -> None:
    found = loaded.load(with_change(2, city="Bath"))
    assert (found.recognised, counts(found)) == ("7 rows", {"read": 8, "updated": 1, "unchanged": 7})
    assert loaded.load(with_change(2, city="Bath")).recognised == "8 rows"
    assert loaded.load(ROWS).recognised == "7 rows"
    assert [city for (city,) in loaded.rows("city")] == ["York"] * 8


EDITS = {
    "one value": f"UPDATE {TABLE} SET city = 'Leeds' WHERE gender = 1 AND first_name = 'name 3'",
    "a value, and back in another transaction": f"UPDATE {TABLE} SET city = 'x'; COMMIT; UPDATE {TABLE} SET city = 'York'",
    "a row deleted": f"DELETE FROM {TABLE} WHERE first_name = 'name 3'",
    "a row deleted and put back otherwise": f"""
        DELETE FROM {TABLE} WHERE first_name = 'name 3';
        INSERT INTO {TABLE} (lms_user_id, city) VALUES ('{uid(3)}', 'Leeds')""",
    "all restored, some otherwise": f"""
        CREATE TEMP TABLE b ON COMMIT DROP AS SELECT * FROM {TABLE}; TRUNCATE {TABLE};
        INSERT INTO {TABLE} SELECT * FROM b ORDER BY lms_user_id DESC; UPDATE {TABLE} SET city = NULL WHERE gender = 1""",
    "two rows that change places": f"UPDATE {TABLE} SET city = 'a' WHERE first_name IN ('name 1', 'name 2')",
    "marked as departed": f"UPDATE {TABLE} SET departed_at = now() WHERE first_name = 'name 3'",
    "a column dropped and added": f"ALTER TABLE {TABLE} DROP COLUMN city; ALTER TABLE {TABLE} ADD COLUMN city text",
    "a column dropped and added with a default": f"""
        ALTER TABLE {TABLE} DROP COLUMN city; ALTER TABLE {TABLE} ADD COLUMN city text DEFAULT 'York'""",
    "a column renamed, another in its place": f"""
        ALTER TABLE {TABLE} RENAME city TO town; ALTER TABLE {TABLE} ADD COLUMN city text""",
    "another type": f"ALTER TABLE {TABLE} ALTER city TYPE varchar(3) USING left(city, 3)",
    "another type, the values kept": f"ALTER TABLE {TABLE} ALTER city TYPE varchar",
    "another table under its name": f"""
        CREATE TABLE "{SCHEMA}".copy (LIKE {TABLE} INCLUDING ALL); INSERT INTO "{SCHEMA}".copy SELECT * FROM {TABLE};
        UPDATE "{SCHEMA}".copy SET city = 'x'; DROP TABLE {TABLE}; ALTER TABLE "{SCHEMA}".copy RENAME TO department_members""",
    "fingerprints of others": f"UPDATE {BESIDE} SET fingerprint = gen_random_uuid()",
    "fingerprints of each other": f"""
        UPDATE {BESIDE} AS f SET fingerprint = (SELECT fingerprint FROM {BESIDE} AS o WHERE o.lms_user_id <> f.lms_user_id LIMIT 1);
        UPDATE {TABLE} SET city = 'x'""",
    "fingerprints without rows": f"TRUNCATE {TABLE}",
    "no fingerprints": f"DROP TABLE {BESIDE}; UPDATE {TABLE} SET city = 'x'",
    "no key of the fingerprints": f"""
        ALTER TABLE {BESIDE} DROP CONSTRAINT department_members_fingerprints_pkey; UPDATE {TABLE} SET city = 'x'""",
    "another type of the key": f"ALTER TABLE {TABLE} ALTER lms_user_id TYPE text; UPDATE {TABLE} SET city = 'x'",
    "fingerprints that nobody may write": f"REVOKE ALL ON {BESIDE} FROM CURRENT_USER; UPDATE {TABLE} SET city = 'x'",
    "another table of that name": f"DROP TABLE {BESIDE}; CREATE TABLE {BESIDE} (a int); UPDATE {TABLE} SET city = 'x'",
    "row level security": f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY; UPDATE {TABLE} SET city = 'x'",
    "an old record of transactions": f"UPDATE {BESIDE} SET recorded_at = recorded_at - 3000000000",
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("on_departure", ["keep", "mark"])
def test_whatever_is_done_to_the_table_the_load_makes_it_the_snapshot(
    loaded: Loader, edit: str, on_departure: str
) -> None:
    fits = "varchar(3)" not in EDITS[edit]
    for statement in EDITS[edit].split("COMMIT;"):
        loaded.database.query(statement)
    found = loaded.load(ROWS, on_departure=on_departure, max_rejected="100%")
    assert found.rejected == (0 if fits else 8)
    if fits:
        assert [(row[0], row[1], row[3]) for row in loaded.rows(EVERY)] == [
            (uid(n), f"name {n}", "York") for n in range(1, 9)
        ]
        assert all(row[6] is None for row in loaded.rows(EVERY)) or on_departure == "keep"
        again = loaded.load(ROWS, on_departure=on_departure)
        assert counts(again) == {"read": 8, "unchanged": 8}


def test_labels_of_an_enum_that_change_their_name_are_other_values(loader: Loader) -> None:
    loader.database.query(f"""CREATE TYPE "{SCHEMA}".place AS ENUM ('York', 'Bath')""")
    loader.create(f'{COLUMNS}, city "{SCHEMA}".place')
    loader.load(ROWS)
    assert loader.load(ROWS).recognised == "8 rows"
    loader.database.query(f"""ALTER TYPE "{SCHEMA}".place RENAME VALUE 'York' TO 'Bristol'""")
    loader.database.query(f"""ALTER TYPE "{SCHEMA}".place RENAME VALUE 'Bath' TO 'York'""")
    assert loader.load(ROWS).recognised == ""
    assert {city for (city,) in loader.rows("city::text")} == {"York"}


@pytest.mark.parametrize(
    "thing",
    [
        f"CREATE FUNCTION pg_temp.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; "
        f"CREATE TRIGGER t BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION pg_temp.f()",
        f'CREATE TABLE "{SCHEMA}".heir () INHERITS ({TABLE}); ALTER TABLE "{SCHEMA}".heir NO INHERIT {TABLE}; '
        f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY",
        f'CREATE DOMAIN "{SCHEMA}".word AS text; ALTER TABLE {TABLE} ALTER city TYPE "{SCHEMA}".word',
        f"ALTER TABLE {TABLE} ADD CONSTRAINT self FOREIGN KEY (lms_user_id) REFERENCES {TABLE} ON DELETE CASCADE",
    ],
)
def test_where_it_would_prove_nothing_all_is_staged(loaded: Loader, thing: str) -> None:
    with loaded.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(thing)
        connection.commit()
        assert loaded.load(ROWS).recognised == ""


def test_records_that_share_a_key_are_judged_together(loaded: Loader) -> None:
    newer = member(3, "newer", "2026-02-01T00:00:00Z", city="Bath")
    found = loaded.load([*ROWS, newer])
    assert (found.recognised, counts(found)) == ("7 rows", {"read": 9, "updated": 1, "unchanged": 7, "duplicates": 1})
    older = member(3, "older", "2025-02-01T00:00:00Z")
    found = loaded.load([*ROWS[:2], newer, *ROWS[3:], older])
    assert (found.recognised, counts(found)) == ("7 rows", {"read": 9, "unchanged": 8, "duplicates": 1})
    found = loaded.load([*ROWS[:2], newer, *ROWS[3:], newer, newer])
    assert (found.recognised, counts(found)) == ("7 rows", {"read": 10, "unchanged": 8, "duplicates": 2})
    rejected = member(3, "refused", "2026-03-01T00:00:00Z", gender="x")
    found = loaded.load([*ROWS[:2], newer, *ROWS[3:], rejected])
    assert (found.recognised, counts(found)) == ("7 rows", {"read": 9, "unchanged": 7, "duplicates": 1, "rejected": 1})
    assert loaded.rows()[2][1] == "newer"


@pytest.mark.parametrize("spelled", [uid(3).upper(), "{" + uid(3) + "}", uid(3).replace("-", "")])
def test_a_key_that_is_spelled_otherwise_is_the_same_key(loaded: Loader, spelled: str) -> None:
    found = loaded.load([*ROWS, {**ROWS[2], "lms_user_id": spelled, "first_name": "last"}])
    assert counts(found) == {"read": 9, "updated": 1, "unchanged": 7, "duplicates": 1}
    assert loaded.rows()[2][1] == "last"


def test_leavers_and_those_who_return_are_found(loaded: Loader) -> None:
    found = loaded.load(ROWS[:7], on_departure="mark")
    assert (found.recognised, found.departed) == ("7 rows", 1)
    found = loaded.load(ROWS, on_departure="mark")
    assert (found.recognised, found.returned, found.updated) == ("7 rows", 1, 1)
    assert loaded.load(ROWS, on_departure="mark").recognised == "8 rows"
    assert loaded.load(ROWS[:7], on_departure="delete").departed == 1
    assert loaded.database.query(f"SELECT count(*) FROM {BESIDE}") == [(7,)]
    assert counts(loaded.load(ROWS)) == {"read": 8, "inserted": 1, "unchanged": 7}


def test_a_row_that_is_kept_since_it_is_newer_is_not_taken_for_the_older_record(loaded: Loader) -> None:
    newer = with_change(2, city="Bath", date_edited="2026-02-01T00:00:00Z")
    loaded.load(newer)
    for _ in range(2):
        assert counts(loaded.load(ROWS, replay=True)) == {"read": 8, "unchanged": 8}
    assert loaded.rows("city")[2] == ("Bath",)
    assert counts(loaded.load(ROWS)) == {"read": 8, "updated": 1, "unchanged": 7}


def test_a_plain_file_is_staged_whole(loaded: Loader) -> None:
    found = loaded.load(loaded.snapshot(with_change(2, city="Bath", date_edited="2026-02-01T00:00:00Z"), plain=True))
    assert (found.recognised, counts(found)) == ("", {"read": 8, "updated": 1, "unchanged": 7})


def test_what_another_session_writes_meanwhile_is_not_recorded(loaded: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    record = fingerprints.record_same

    def after_another_session(*arguments: Any, **named: Any) -> None:
        loaded.database.query(f"UPDATE {TABLE} SET city = 'Leeds' WHERE first_name = 'name 3'")
        record(*arguments, **named)

    loaded.database.query(f"TRUNCATE {BESIDE}")
    monkeypatch.setattr(upsert, "record_same", after_another_session)
    loaded.load(ROWS)
    monkeypatch.setattr(upsert, "record_same", record)
    found = loaded.load(ROWS)
    assert (found.recognised, found.updated) == ("7 rows", 1)
    assert loaded.rows("city")[2] == ("York",)


def test_a_column_that_empties_in_the_staged_rows_alone_has_not_vanished(loaded: Loader) -> None:
    found = loaded.load(with_change(2, city=""))
    assert found.vanished_keys == ()
    none = [{**row, "city": None} for row in ROWS]
    assert loaded.load(none, max_emptied="100%").vanished_keys == ("city",)


def test_a_dry_run_neither_makes_nor_changes_fingerprints(loader: Loader) -> None:
    loader.create(TABLE_COLUMNS)
    loader.load(ROWS, dry_run=True)
    assert loader.database.query("SELECT to_regclass(%s)::text", (BESIDE,)) == [(None,)]
    loader.load(ROWS)
    before = loader.database.query(f"SELECT lms_user_id, fingerprint FROM {BESIDE} ORDER BY 1")
    assert loader.load(with_change(2, city="Bath"), dry_run=True).recognised == "7 rows"
    assert loader.database.query(f"SELECT lms_user_id, fingerprint FROM {BESIDE} ORDER BY 1") == before


def test_another_header_or_line_ending_stages_everything_once(loaded: Loader) -> None:
    turned = [dict(reversed(row.items())) for row in ROWS]
    assert [loaded.load(turned).recognised for _ in range(2)] == ["", "8 rows"]
    assert counts(loaded.load(turned)) == {"read": 8, "unchanged": 8}


def test_a_column_that_the_load_sets_itself_no_more_is_loaded(loader: Loader) -> None:
    rows = [{**row, "departed_at": "2026-01-01T00:00:00Z"} for row in ROWS]
    loader.create(TABLE_COLUMNS)
    for _ in range(2):
        loader.load(rows, on_departure="mark")
    assert loader.load(rows).updated == 8
    assert all(moment is not None for (moment,) in loader.rows("departed_at"))


@pytest.mark.parametrize(
    ("definition", "statement"),
    [
        ("text GENERATED ALWAYS AS (upper(first_name)) STORED", "ALTER TABLE {} ALTER city DROP EXPRESSION"),
        ("bigint GENERATED ALWAYS AS IDENTITY", "ALTER TABLE {} ALTER city DROP IDENTITY"),
    ],
)
def test_a_column_that_the_table_computes_no_more_is_loaded(loader: Loader, definition: str, statement: str) -> None:
    rows = [{**row, "city": "1000"} for row in ROWS]
    loader.create(f"{COLUMNS}, city {definition}")
    for _ in range(2):
        loader.load(rows)
    loader.database.query(statement.format(TABLE))
    assert loader.load(rows).updated == 8
    assert {str(city) for (city,) in loader.rows("city")} == {"1000"}


def test_a_known_record_that_is_rejected_after_all_is_no_leaver(
    loaded: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = staging.fill

    def refusing(cursor: Any, snapshot: Any, staged: Any, *more: Any) -> None:
        fill(cursor, snapshot, staged, *more)
        staged.rejected[3] = ("city", "refused")
        cursor.execute("DELETE FROM pg_temp.staging WHERE _record = 3")

    monkeypatch.setattr(staging, "fill", refusing)
    found = loaded.load([*ROWS, {**ROWS[2], "city": "Bath"}][:9], on_departure="delete")
    assert found.departed == 0
