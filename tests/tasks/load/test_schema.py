"""Tables whose rows a load could not match, or not as planned, are refused by name before anything is written."""

import pytest

from tasks.errors import SchemaMismatch
from tasks.load.database_errors import is_of_function
from tasks.load.schema import inspect_schema
from tasks.load.staging import COPY_CONTEXT
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tests.support.loader import DEPARTMENT, SCHEMA, TABLE, Loader, counts, member, uid
from tests.tasks.load.test_verify import trigger

KEY = "lms_user_id uuid PRIMARY KEY, department_id uuid, first_name text"


def test_child_tables_into_which_the_key_does_not_reach(loader: Loader) -> None:
    loader.database.query(f'CREATE TABLE "{SCHEMA}".child () INHERITS ({TABLE})')
    with pytest.raises(SchemaMismatch, match="has child tables"):
        loader.load([member(1)])


@pytest.mark.parametrize(
    "alter", ["ALTER gender TYPE numeric(5,1)", "ALTER date_edited TYPE timestamptz(0)", "DROP first_name"]
)
def test_a_table_that_is_altered_after_it_was_inspected(loader: Loader, alter: str) -> None:
    table = inspect_schema.fn(SCHEMA, "department_members")
    loader.database.query(f"ALTER TABLE {TABLE} {alter}")
    with pytest.raises(SchemaMismatch, match="was altered after this load inspected it"):
        upsert_snapshot.fn(loader.snapshot([member(1)]), table, LoadOptions())
    assert loader.rows("lms_user_id") == []


def test_a_trigger_that_changes_the_key(loader: Loader) -> None:
    loader.create(KEY.replace("lms_user_id uuid", "lms_user_id text"))
    trigger(loader, "NEW.lms_user_id := upper(NEW.lms_user_id); RETURN NEW;")
    with pytest.raises(SchemaMismatch, match="a trigger of the table changes lms_user_id"):
        loader.load([{"lms_user_id": "abc", "department_id": DEPARTMENT, "first_name": "a"}])
    assert loader.rows() == []


def test_a_key_whose_index_has_another_collation(loader: Loader) -> None:
    loader.create('lms_user_id text COLLATE "C", first_name text')
    loader.database.query(f'CREATE UNIQUE INDEX ON {TABLE} (lms_user_id COLLATE "POSIX")')
    with pytest.raises(SchemaMismatch, match="has a different collation from the column"):
        loader.load([member(1)])


@pytest.mark.parametrize("kind", ["char(5)", "varchar(5)", 'text COLLATE "C"'])
def test_keys_are_told_apart_as_the_table_does(loader: Loader, kind: str) -> None:
    loader.create(KEY.replace("lms_user_id uuid", f"lms_user_id {kind}"))
    rows = [{"lms_user_id": key, "first_name": key} for key in ("ab", "ab ", "cd")]
    loaded = loader.load(rows)
    stored = 2 if kind == "char(5)" else 3
    assert (loaded.inserted, loaded.duplicates, loaded.rejected) == (stored, 3 - stored, 0)
    assert counts(loader.load(rows))["unchanged"] == stored


@pytest.mark.parametrize("of", ["CHECK (department_members IS NOT NULL OR true)", "UNIQUE INDEX"])
def test_a_constraint_on_a_whole_row_is_left_to_the_table(loader: Loader, of: str) -> None:
    loader.create(KEY + (f", {of}" if of.startswith("CHECK") else ""))
    if of == "UNIQUE INDEX":
        loader.database.query(f"CREATE UNIQUE INDEX ON {TABLE} ((department_members IS NULL), lms_user_id)")
    assert loader.load([member(1), member(2)]).inserted == 2
    assert loader.load([member(1, "Bob"), member(2, None)]).updated == 2


def test_a_type_with_a_cast_to_text_of_its_own(loader: Loader) -> None:
    loader.database.query(
        f"""CREATE TYPE "{SCHEMA}".named AS (first text, last text);
        CREATE FUNCTION "{SCHEMA}".initial("{SCHEMA}".named) RETURNS text LANGUAGE sql IMMUTABLE
        AS $$ SELECT left(($1).first, 1) $$;
        CREATE CAST ("{SCHEMA}".named AS text) WITH FUNCTION "{SCHEMA}".initial("{SCHEMA}".named)"""
    )
    loader.create(f'lms_user_id uuid PRIMARY KEY, name "{SCHEMA}".named')
    for name, outcome in [("(Ada,L)", "inserted"), ("(Anna,M)", "updated"), ("(,)", "updated"), (None, "updated")]:
        assert counts(loader.load([{"lms_user_id": uid(1), "name": name}], max_emptied="100%")) == {
            "read": 1,
            outcome: 1,
        }


@pytest.mark.parametrize(
    ("context", "line", "column"),
    [
        ('COPY staging, line 3, column c7: "x"', 3, "c7"),
        ("COPY staging, Zeile 12, Spalte c0: »c9«", 12, "c0"),
        ("COPY staging, ligne 3", 3, None),
        ('COPY staging の 3 行、列 c7: "line 9 c2"', 3, "c7"),
        ('在 COPY staging 的第3行, 列 c7: "x"', 3, "c7"),
        ("stagingのCOPY、3行目、列c7", 3, "c7"),
    ],
)
def test_the_line_that_copy_names_is_found_in_other_languages(context: str, line: int, column: str | None) -> None:
    found = COPY_CONTEXT.search(context)
    assert found is not None
    assert (int(found["line"]), found["column"]) == (line, column)
    assert not is_of_function(context)
