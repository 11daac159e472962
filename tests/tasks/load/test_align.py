"""Each type of column, each kind of text: what it becomes, or that its row is rejected. On a real server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import ObjectInvalid, SchemaMismatch
from tasks.load.align import align
from tasks.load.formats import PATTERNS, TEXTS, parsed
from tasks.load.schema import TableColumn, TableSchema, inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tests.conftest import Database
from tests.support.column_types import CASES, REJECTED
from tests.support.snapshots import snapshot, write_csv

SETUP = """
DROP SCHEMA IF EXISTS types CASCADE;
CREATE SCHEMA types;
CREATE TYPE types.mood AS ENUM ('happy', 'sad', '');
CREATE DOMAIN types.grade AS integer CHECK (VALUE BETWEEN 1 AND 6);
CREATE DOMAIN types.short AS varchar(3);
CREATE DOMAIN types.day AS date CHECK (VALUE > '2000-01-01');
CREATE DOMAIN types.tags AS text[];
CREATE TYPE types.pair AS (number integer, word text);
CREATE DOMAIN types.moment AS timestamp CHECK (VALUE > '2000-01-01');
"""
UNLIMITED = {"text", "bpchar"}


@pytest.fixture(scope="module")
def database(any_database: Database) -> Iterator[Database]:
    any_database.query(SETUP)
    yield any_database
    any_database.query("DROP SCHEMA types CASCADE")


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in CASES}))
def test_each_text_becomes_the_columns_value_or_is_rejected(
    database: Database, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in database.environment("types").items():
        monkeypatch.setenv(name, value)
    database.query("DROP TABLE IF EXISTS types.department_members, types.lms_loads")
    database.query(f"CREATE TABLE types.department_members (lms_user_id text PRIMARY KEY, value {kind})")
    cases = [(text, becomes) for k, text, becomes in CASES if k == kind]
    rows: list[dict[str, str | None]] = [{"lms_user_id": f"{n:03}", "value": text} for n, (text, _) in enumerate(cases)]
    rows.append({"lms_user_id": "null", "value": None})

    table = inspect_schema.fn("types", "department_members")
    source = snapshot(write_csv(tmp_path / "members.csv", rows), rows=None)
    monkeypatch.setattr("tasks.load.upsert.publish_rejects", lambda *_: source.object)
    loaded = upsert_snapshot.fn(source, table, LoadOptions(max_rejected="100%"))

    stored = dict(database.query("SELECT lms_user_id, value::text FROM types.department_members"))
    assert stored.pop("null") is None
    found = [(text, stored.get(f"{n:03}", REJECTED)) for n, (text, _) in enumerate(cases)]
    assert found == cases
    assert loaded.rejected == sum(becomes == REJECTED for _, becomes in cases)


def columns(**types: str) -> TableSchema:
    return TableSchema("s", "t", tuple(TableColumn(name, kind, kind) for name, kind in types.items()))


TABLE = columns(lms_user_id="uuid", first_name="text", departed_at="timestamptz")


def test_columns_that_the_table_lacks_are_ignored_added_or_an_error() -> None:
    header = ["lms_user_id", "first_name", "shoe_size", "date_hired"]
    assert align(header, TABLE, "ignore").ignored == ("shoe_size", "date_hired")
    hired = TableColumn("date_hired", "timestamptz", "timestamp with time zone")
    evolved = align(header, TABLE, "evolve", {"date_hired": hired})
    assert ([column.name for column in evolved.added], evolved.ignored) == (["shoe_size", "date_hired"], ())
    assert [column.staged_as for column in evolved.columns] == ["uuid", "text", "text", "timestamptz"]
    with pytest.raises(SchemaMismatch, match="no column for shoe_size, date_hired"):
        align(header, TABLE, "fail")


def test_columns_that_the_file_lacks_are_left_alone() -> None:
    assert align(["lms_user_id"], TABLE).untouched == ("first_name", "departed_at")


def test_the_columns_of_a_reject_file_are_no_surprise() -> None:
    header = ["rejected_line", "rejected_column", "rejected_reason", "lms_user_id"]
    assert align(header, TABLE, "fail").ignored == ()


def test_a_column_that_must_have_a_value_and_is_not_in_the_file_is_a_mismatch() -> None:
    table = TableSchema("s", "t", (*TABLE.columns, TableColumn("cost_centre", "text", "text", required=True)))
    with pytest.raises(SchemaMismatch, match="cost_centre must have a value"):
        align(["lms_user_id"], table)


@pytest.mark.parametrize("header", [["first_name"], ["lms_user_id", "a", "a"], ["lms_user_id", ""]])
def test_a_header_without_the_key_or_with_a_name_twice_is_no_header(header: list[str]) -> None:
    with pytest.raises(ObjectInvalid, match=re.escape("line 1: expected a header of distinct column names")):
        align(header, TABLE)


@pytest.mark.parametrize(
    ("base", "parts"),
    [("numeric(5,2)", ("numeric", "5", "2")), ("numeric(3,-1)", ("numeric", "3", "-1")), ("text[]", ("text[]", None, None)),
     ("character varying(20)", ("character varying", "20", None)), ("public.geometry(Point,4326)", ("public.geometry(Point,4326)", None, None)),
     ("timestamp(3) without time zone", ("timestamp without time zone", "3", None))],
)  # fmt: skip
def test_types_are_read_as_postgresql_writes_them(base: str, parts: tuple[Any, ...]) -> None:
    assert parsed(base) == parts


@pytest.mark.parametrize("kind", sorted({*PATTERNS, *TEXTS} - {"enum"}))
def test_every_kind_that_the_plan_knows_has_a_text_that_fits_and_one_that_does_not(kind: str) -> None:
    fits = {becomes != REJECTED for declared, _, becomes in CASES if parsed(declared)[0] == kind}
    assert fits == ({True} if kind in UNLIMITED else {True, False})
