"""Whatever becomes of the table of fingerprints, no load fails over it or waits for it."""

from typing import Any

import pytest

from tasks.load import fingerprints
from tests.support.loader import SCHEMA, Loader, counts
from tests.tasks.load.test_fingerprints import BESIDE, ROWS, loaded, with_change

__all__ = ["loaded"]  # the fixture


BROKEN = {
    "nulls": f"UPDATE {BESIDE} SET fingerprint = NULL",
    "another collation or type": f"ALTER TABLE {BESIDE} ALTER fingerprint TYPE text",
    "row level security": f"ALTER TABLE {BESIDE} ENABLE ROW LEVEL SECURITY; ALTER TABLE {BESIDE} FORCE ROW LEVEL SECURITY",
    "a trigger that raises": f"""
        CREATE FUNCTION "{SCHEMA}".no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
        CREATE TRIGGER no BEFORE INSERT OR UPDATE OR DELETE ON {BESIDE} FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".no()""",
    "a rule": f"CREATE RULE no AS ON INSERT TO {BESIDE} DO INSTEAD NOTHING",
    "a check": f"ALTER TABLE {BESIDE} ADD CHECK (recorded_at < 0) NOT VALID",
    "a deferrable key": f"""
        ALTER TABLE {BESIDE} DROP CONSTRAINT department_members_fingerprints_pkey;
        ALTER TABLE {BESIDE} ADD PRIMARY KEY (lms_user_id) DEFERRABLE""",
    "a generated column": f"""
        ALTER TABLE {BESIDE} DROP recorded_at;
        ALTER TABLE {BESIDE} ADD recorded_at bigint GENERATED ALWAYS AS IDENTITY""",
    "a view": f"DROP TABLE {BESIDE}; CREATE VIEW {BESIDE} AS SELECT 1 AS a",
    "a type": f"DROP TABLE {BESIDE}; CREATE TYPE {BESIDE} AS ENUM ()",
}


@pytest.mark.parametrize("state", BROKEN)
def test_no_load_fails_over_the_fingerprints(loaded: Loader, state: str) -> None:
    loaded.database.query(BROKEN[state])
    for rows in ([*with_change(2, city="Bath")], ROWS[:7], ROWS):
        found = loaded.load(rows, on_departure="delete")
        assert sum(counts(found).get(name, 0) for name in ("inserted", "updated", "unchanged")) == len(rows)
        assert len(loaded.rows()) == len(rows)


@pytest.mark.parametrize("lock", ["ACCESS EXCLUSIVE", "SHARE"])
def test_a_lock_on_the_fingerprints_is_not_waited_for(loaded: Loader, lock: str) -> None:
    with loaded.database.connect() as other, other.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {BESIDE} IN {lock} MODE")
        found = loaded.load(with_change(2, city="Bath"))
        assert (found.recognised, found.updated, found.seconds < 10) == ("", 1, True)
    assert loaded.load(ROWS).updated == 1


def test_what_fails_while_it_is_recorded_is_not_recorded(loaded: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = fingerprints.record_parts

    def broken(merge: Any, found: Any) -> dict[str, str]:
        return {**parts(merge, found), **({"recorded": ", recorded AS (SELECT 1 / 0)"} if found else {})}

    for module in ("fingerprints", "verify"):
        monkeypatch.setattr(f"tasks.load.{module}.record_parts", broken)
    assert loaded.load(with_change(2, city="Bath")).updated == 1
    assert loaded.rows("city")[2] == ("Bath",)


def test_nothing_stays_of_leavers_though_most_rows_change(loaded: Loader) -> None:
    changed = [{**row, "city": "Bath"} for row in ROWS[:6]]
    assert loaded.load(changed, on_departure="delete", max_departures="100%").departed == 2
    assert loaded.database.query(f"SELECT count(*) FROM {BESIDE}") == [(6,)]
