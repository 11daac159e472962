"""A value is never changed on the way: from the LMS's JSON, through the CSV, into PostgreSQL."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.columns import ColumnNames
from tasks.extract.flatten import flatten_pages
from tasks.load.schema import inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tests.conftest import Database
from tests.support.snapshots import raw_snapshot, snapshot

AWKWARD = [
    None, "", " ", "\t", "NULL", "null", "NA", "N/A", "nan", "None", r"\N", r"\.", "\\.\n", "a\n\\.\nb", "\\", '"', '""', "'",
    "a\nb", "a\r\nb", "a\rb", "\n", "00123", "1e5", "+1 555", "1.0", "-0", "=1+1", "a,b", "😀", "שלום", "العربية",
    "e\u0301", "\ufeff", "\u2028", "true", "{}", "[]", "{x}", "%s", "%(a)s", "$1",
]  # fmt: skip
# PostgreSQL holds no NUL, and a lone surrogate is no character: both have tests of their own.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUE = st.one_of(st.sampled_from(AWKWARD), TEXT, st.none())
MEMBERS = st.lists(st.tuples(VALUE, VALUE, VALUE), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def table(any_database: Database) -> Database:
    any_database.query("DROP TABLE IF EXISTS department_members, lms_loads")
    any_database.query(
        "CREATE TABLE department_members (lms_user_id text PRIMARY KEY, notes text, city varchar(40),"
        " custom_fields jsonb, first_name varchar)"
    )
    return any_database


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=MEMBERS)
def test_arbitrary_text_arrives_as_it_was_sent(
    members: list[tuple[Any, Any, Any]],
    table: Database,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = [
        {"id": f"id-{n}", "notes": a, "city": b, "firstName": c, "customFields": {"string1": a, "string2": b}}
        for n, (a, b, c) in enumerate(members)
    ]
    folder = tmp_path_factory.mktemp("fidelity")
    load(table, folder, monkeypatch, sent)
    found = table.query(
        "SELECT lms_user_id, notes, city, first_name, custom_fields->>'string1', custom_fields->>'string2'"
        " FROM department_members ORDER BY lms_user_id"
    )
    assert found == [(f"id-{n}", a, b, c, a, b) for n, (a, b, c) in enumerate(members)]


def test_the_awkward_values_arrive_all_at_once(
    table: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [{"id": f"id-{n:03}", "notes": value} for n, value in enumerate(AWKWARD)]
    load(table, tmp_path, monkeypatch, sent)
    assert [row[0] for row in table.query("SELECT notes FROM department_members ORDER BY lms_user_id")] == AWKWARD


@settings(max_examples=60)
@given(members=MEMBERS)
def test_any_csv_reader_gets_the_same_text(
    members: list[tuple[Any, Any, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    sent = [{"id": f"id-{n}", "notes": a, "city": b} for n, (a, b, _) in enumerate(members)]
    flat = flatten_pages.fn(raw_snapshot(folder, sent), ColumnNames(), folder / "members.csv")
    rows = csv.DictReader(io.StringIO(flat.path.read_bytes().decode(), newline=""))
    assert [(row["notes"], row["city"]) for row in rows] == [(a or "", b or "") for a, b, _ in members]


def test_numbers_keep_their_digits(table: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (
        b'{"totalItems":1,"users":[{"id":"a","customFields":{"decimal1":8675309.00,"decimal2":1234567890123456789012345,'
        b'"decimal3":0.1000000000000000055511151231257827,"decimal4":-0.0}}]}'
    )
    load(table, tmp_path, monkeypatch, page)
    [row] = table.query(
        "SELECT " + ", ".join(f"custom_fields->>'decimal{n}'" for n in range(1, 4)) + " FROM department_members"
    )
    assert row == ("8675309.00", "1234567890123456789012345", "0.1000000000000000055511151231257827")


def test_a_lone_surrogate_becomes_the_replacement_character_and_is_counted(
    table: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = rb'{"totalItems":1,"users":[{"id":"a","notes":"x\ud800y","customFields":{"string1":"\udc00"}}]}'
    assert raw_snapshot(tmp_path, page).replaced_characters == 2
    load(table, tmp_path, monkeypatch, page)
    assert table.query("SELECT notes, custom_fields FROM department_members") == [("x\ufffdy", {"string1": "\ufffd"})]


def load(table: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, page: list[dict[str, Any]] | bytes) -> None:
    for name, value in table.environment().items():
        monkeypatch.setenv(name, value)
    table.query("TRUNCATE department_members; DROP TABLE IF EXISTS lms_loads")
    flat = flatten_pages.fn(raw_snapshot(folder, page), ColumnNames(), folder / "members.csv")
    schema = inspect_schema.fn("public", "department_members")
    loaded = upsert_snapshot.fn(snapshot(flat.path, rows=flat.rows), schema, LoadOptions(max_rejected="0"))
    assert loaded.inserted == flat.rows, json.dumps(loaded.rejected_because)
