"""The ledger: each snapshot once and in order, whatever the bucket, the clock and the ledger's age."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest import LogCaptureFixture as Log
from pytest import MonkeyPatch as Patch

from tasks.errors import AuthError, ObjectInvalid, SchemaMismatch
from tasks.load import ledger
from tasks.load.database import statement, transaction
from tasks.load.schema import TableSchema
from tasks.s3 import S3Object, Snapshot
from tasks.streams import MEMBERS, Scope
from tests.conftest import Database

SCHEMA = "Business Tracking"
LOADS = '"Business Tracking".lms_loads'
DEPARTMENT = "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11"
COUNTS = {"read": 9, "inserted": 1, "updated": 1, "unchanged": 4, "duplicates": 2, "rejected": 1, "departed": 3, "returned": 5}  # fmt: skip
TABLE = TableSchema(SCHEMA, "department_members", ())
# As tasks/load/sql/ledger_table.sql was in the first version: users have such ledgers.
OLD_LEDGER = f"""
CREATE TABLE {LOADS} (
    load_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, loaded_at timestamptz NOT NULL DEFAULT now(), table_name text NOT NULL, bucket text NOT NULL, object_key text NOT NULL, version_id text, etag text NOT NULL,
    sha256 text NOT NULL, department_id text, snapshot_at timestamptz, rows_read bigint NOT NULL,
    inserted bigint NOT NULL, updated bigint NOT NULL, unchanged bigint NOT NULL, duplicates bigint NOT NULL,
    rejected bigint NOT NULL, departed bigint NOT NULL, returned bigint NOT NULL, rejects_key text, flow_run_id text,
    CHECK (rows_read = inserted + updated + unchanged + duplicates + rejected)
)
"""


class Owner:
    """The schema's owner, and a loader that may only use what is there."""

    def __init__(self, database: Database) -> None:
        self.database = Database({**database.variables, "BUSINESS_TRACKING_USER": "postgres"}, None)
        self.run(f'DROP SCHEMA IF EXISTS "{SCHEMA}" CASCADE; CREATE SCHEMA "{SCHEMA}"; DROP ROLE IF EXISTS humble')
        self.run(f"CREATE ROLE humble LOGIN PASSWORD 'humble'; GRANT USAGE ON SCHEMA \"{SCHEMA}\" TO humble")

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.database.query(statement)

    def run_file(self, name: str) -> None:
        self.run(statement(name).format(ledger=LOADS))


@pytest.fixture
def owner(own_database: Database, monkeypatch: Patch) -> Iterator[Owner]:
    humble = {"BUSINESS_TRACKING_USER": "humble", "BUSINESS_TRACKING_PASSWORD": "humble"}
    for name, value in {**own_database.environment(), **humble}.items():
        monkeypatch.setenv(name, value)
    made = Owner(own_database)
    yield made
    made.run("DROP OWNED BY humble; DROP ROLE humble")


@pytest.fixture
def old(owner: Owner) -> Owner:
    owner.run(f"{OLD_LEDGER}; GRANT SELECT, INSERT ON {LOADS} TO humble")
    return owner


def day(number: int) -> datetime:
    return datetime(2026, 1, number, 2, tzinfo=UTC)


def published(version: str | None, content: str, at: datetime | None = None) -> Snapshot:
    """What lies at one key: its version, its content, and its snapshot time; without one it is a plain file."""
    department = Scope(MEMBERS, DEPARTMENT) if at else None
    source = S3Object("bucket", "members.csv", version)
    return Snapshot(Path(), source, content, content, 9, scope=department, snapshot_at=at)


def load(snapshot: Snapshot, table: TableSchema = TABLE) -> str:
    """Record a load of the snapshot, or give the reason not to."""
    with transaction(None) as cursor:
        ledger.open_ledger(cursor, table)
        reason = ledger.find_earlier(cursor, table, snapshot).reason_to_skip
        if reason is None:
            ledger.record_load(cursor, table, snapshot, COUNTS, "members.csv.rejected/run.csv")
    return reason or "loaded"


def ask(question: Callable[..., Any], *arguments: Any) -> Any:
    with transaction(None) as cursor:
        return question(cursor, *arguments)


def committed(snapshot: Snapshot) -> ledger.Committed | None:
    found: ledger.Committed | None = ask(ledger.committed_by_this_run, TABLE, snapshot)
    return found


def warnings(caplog: Log) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def run_is(monkeypatch: Patch, run: str) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", run)


@pytest.mark.parametrize(
    ("publications", "outcomes"),
    [
        # Without versions: the newest load of the key decides.
        ([(None, "A"), (None, "B"), (None, "A")], "loaded loaded loaded"),
        ([(None, "A"), (None, "A"), (None, "B"), (None, "B"), (None, "A"), (None, "A")], "loaded already loaded already loaded already"),
        ([(None, "A", day(1)), (None, "B", day(2)), (None, "A", day(3))], "loaded loaded loaded"),
        ([(None, "A", day(1)), (None, "A", day(2)), (None, "A", day(2))], "loaded loaded already"),
        ([(None, "A", day(1)), (None, "B", day(2)), (None, "A", day(1))], "loaded loaded older"),
        ([(None, "A", day(1)), (None, "B", day(1)), (None, "A", day(1))], "loaded loaded loaded"),
        # With versions: each once, ever, whatever else differs.
        ([("v1", "A"), ("v2", "B"), ("v3", "A")], "loaded loaded loaded"),
        ([("v1", "A"), ("v2", "B"), ("v1", "A")], "loaded loaded already"),
        ([("v1", "A", day(1)), ("v1", "A", day(2)), ("v1", "B", day(3)), ("v1", "C")], "loaded already already already"),
        # Versioning switched on later: an object from before it has the version "null".
        ([(None, "A"), ("v1", "A"), ("v1", "A")], "loaded loaded already"),
        ([(None, "A", day(1)), ("v1", "B", day(2)), (None, "A", day(1))], "loaded loaded older"),
        ([("null", "A"), ("null", "B"), ("null", "A"), (None, "A"), ("", "A")], "loaded loaded loaded already already"),
        # And suspended, or the key copied to a store without versions.
        ([("v1", "A", day(1)), (None, "A", day(1)), ("null", "A", day(1))], "loaded already already"),
        ([("v1", "A"), (None, "B"), ("v1", "A"), (None, "A")], "loaded loaded already loaded"),
    ],
)  # fmt: skip
def test_each_publication_loads_once_and_in_order(old: Owner, publications: list[Any], outcomes: str) -> None:
    assert [load(published(*each)).split()[0] for each in publications] == outcomes.split()


def test_content_is_compared_and_not_the_etag(old: Owner) -> None:
    load(published(None, "A"))
    assert load(replace(published(None, "A"), etag="of-a-multipart-upload-2")) == "already loaded (load 1 in lms_loads)"
    assert load(replace(published(None, "B"), etag="A")) == "loaded"


def test_another_key_bucket_or_table_is_another_object(old: Owner) -> None:
    load(published("v1", "A"))
    assert load(replace(published("v1", "A"), object=S3Object("bucket", "other.csv", "v1"))) == "loaded"
    assert load(replace(published("v1", "A"), object=S3Object("other", "members.csv", "v1"))) == "loaded"
    assert load(published("v1", "A"), TableSchema(SCHEMA, "department_members_next", ())) == "loaded"


def test_departments_do_not_order_each_other_and_letter_case_makes_no_department(old: Owner) -> None:
    load(published("v1", "A", day(5)))
    assert load(replace(published("v2", "B", day(4)), scope=Scope(MEMBERS, DEPARTMENT.upper()))).startswith("older")
    assert load(replace(published("v3", "B", day(4)), scope=Scope(MEMBERS, DEPARTMENT[::-1]))) == "loaded"


@pytest.mark.parametrize("minutes", [-400 * 24 * 60, 0, 4])
def test_a_snapshot_of_now_or_earlier_passes_the_clock(old: Owner, minutes: int) -> None:
    ask(ledger.check_clock, published("v1", "A", datetime.now(UTC) + timedelta(minutes=minutes)))
    ask(ledger.check_clock, published("v1", "A"))


@pytest.mark.parametrize("minutes", [6, 60, 400 * 24 * 60, 7900 * 365 * 24 * 60])
def test_a_snapshot_from_the_future_is_refused(old: Owner, minutes: int) -> None:
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    says = f"s3://bucket/members.csv .*database's clock .* found {re.escape(at.isoformat(timespec='seconds'))}"
    with pytest.raises(ObjectInvalid, match=says):
        ask(ledger.check_clock, published("v1", "A", at))


@pytest.mark.parametrize("future", ["now() + '400 days'", "now() + '10 minutes'", "'infinity'", "'20000-01-01'"])
def test_future_rows_are_ignored_until_the_owner_repairs_them(old: Owner, future: str, caplog: Log) -> None:
    assert load(published("v1", "A", day(1))) == load(published("v2", "B", day(2))) == "loaded"
    old.run(f"UPDATE {LOADS} SET snapshot_at = {future}")
    assert load(published("v3", "C", datetime.now(UTC))) == "loaded"
    [warning] = warnings(caplog)
    assert "ignored 2 loads" in warning
    old.run(warning.partition("run: ")[2])
    assert load(published("v4", "D", datetime.now(UTC))) == "loaded"
    assert load(published("v5", "E", day(3))).startswith("older")
    assert warnings(caplog) == [warning]


def test_a_plain_file_has_no_order_and_warns_of_none(old: Owner, caplog: Log) -> None:
    load(published("v1", "A", day(1)))
    old.run(f"UPDATE {LOADS} SET snapshot_at = 'infinity'")
    assert load(published("v2", "B")) == "loaded"
    assert warnings(caplog) == []


def test_a_run_finds_the_load_that_it_committed_itself(old: Owner, monkeypatch: Patch) -> None:
    run_is(monkeypatch, "run-1")
    load(published("v1", "A", day(1)))
    assert committed(published("v1", "A", day(1))) == ledger.Committed(1, COUNTS, "members.csv.rejected/run.csv")
    run_is(monkeypatch, "run-2")
    assert committed(published("v1", "A", day(1))) is None
    monkeypatch.undo()  # outside of any run
    assert ledger.committed_by_this_run(None, TABLE, published("v1", "A", day(1))) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [(None, "B", day(1)), (None, "A", day(2)), ("v1", "A", day(1)), (None, "A")])
def test_a_run_does_not_take_another_object_for_its_own(old: Owner, monkeypatch: Patch, other: Any) -> None:
    run_is(monkeypatch, "run-1")
    load(published(None, "A", day(1)))
    assert committed(published(*other)) is None


def test_a_run_finds_its_load_even_behind_a_newer_one(old: Owner, monkeypatch: Patch) -> None:
    for run, content in (("run-1", "A"), ("run-2", "B")):
        run_is(monkeypatch, run)
        load(published(None, content))
    run_is(monkeypatch, "run-1")
    found = committed(published(None, "A"))
    assert found is not None
    assert found.load_id == 1


def test_without_the_right_to_create_it_the_error_names_the_sql(owner: Owner) -> None:
    with pytest.raises(AuthError, match="lms_loads.* run tasks/load/sql/ledger_table.sql") as caught:
        load(published("v1", "A", day(1)))
    owner.run_file("ledger_table")
    owner.run(str(caught.value).partition("then: ")[2])
    assert load(published("v1", "A", day(1))) == "loaded"


@pytest.mark.parametrize("columns", ["sha256", "flow_run_id rejects_key", "rejected departed", "loaded_at", "load_id"])
def test_a_ledger_that_lacks_columns_names_the_sql_that_adds_them(old: Owner, columns: str) -> None:
    load(published("v1", "A", day(1)))
    old.run("; ".join(f"ALTER TABLE {LOADS} DROP COLUMN {name} CASCADE" for name in columns.split()))
    with pytest.raises(SchemaMismatch, match=".*".join(sorted(columns.split()))) as caught:
        load(published("v2", "B", day(2)))
    old.run(str(caught.value).partition("run: ")[2])
    assert load(published("v2", "B", day(2))) == "loaded"
    assert load(published("v2", "B", day(2))).startswith("already loaded")


@pytest.mark.parametrize("shape", ["AS SELECT * FROM original", "(LIKE original)", "(LIKE original INCLUDING INDEXES)"])
def test_a_copy_that_no_longer_numbers_its_loads_is_refused_and_repaired(old: Owner, shape: str) -> None:
    load(published("v1", "A", day(1)))
    old.run(f'ALTER TABLE {LOADS} RENAME TO original; SET search_path = "{SCHEMA}"; CREATE TABLE {LOADS} {shape}')
    old.run(f"GRANT SELECT, INSERT ON {LOADS} TO humble")
    with pytest.raises(SchemaMismatch, match="load_id.* run tasks/load/sql/ledger_repair.sql"):
        load(published("v2", "B", day(2)))
    old.run_file("ledger_repair")
    assert [load(published(version, "C", day(3))) for version in ("v3", "v4")] == ["loaded", "loaded"]


def test_a_column_of_the_users_own_that_wants_a_value_is_named(old: Owner) -> None:
    old.run(f'ALTER TABLE {LOADS} ADD COLUMN "Booked by" text NOT NULL, ADD COLUMN note text DEFAULT 1')
    with pytest.raises(SchemaMismatch, match='column "Booked by"') as caught:
        load(published("v1", "A", day(1)))
    old.run(str(caught.value).partition("run ")[2])
    assert load(published("v1", "A", day(1))) == "loaded"
