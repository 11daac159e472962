"""A leaver takes nobody along: rows of the snapshot, of other departments and beyond the ceiling stay."""

import pytest

from tests.support.loader import COLUMNS, SCHEMA, TABLE, Loader, Row, counts, member, uid

ACTIONS = ["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"]


def create(loader: Loader, action: str, more: str = "") -> None:
    loader.create(f"{COLUMNS}, supervisor_id uuid REFERENCES {TABLE} ON DELETE {action}{more}")


def under(number: int, supervisor: int | None) -> Row:
    return member(number, supervisor_id=None if supervisor is None else uid(supervisor))


@pytest.mark.parametrize("action", ACTIONS)
def test_a_leaver_whom_the_snapshot_still_refers_to_is_kept(loader: Loader, action: str) -> None:
    create(loader, action)
    rows = [under(n, 0 if 1 <= n <= 8 else None) for n in range(40)]
    loader.load(rows)
    loaded = loader.load(rows[1:], on_departure="delete")
    assert counts(loaded) == {"read": 39, "unchanged": 39}
    assert (len(loader.rows()), len(loaded.kept_leavers)) == (40, 1)
    assert loaded.kept_leavers[0].startswith(uid(0))


@pytest.mark.parametrize("action", ACTIONS)
def test_a_leaver_whom_another_department_refers_to_is_kept(loader: Loader, action: str) -> None:
    create(loader, action)
    loader.load([under(n, None) for n in range(1, 11)])
    loader.database.query(
        f"INSERT INTO {TABLE} (lms_user_id, department_id, supervisor_id) VALUES (%s, %s, %s)",
        (uid(99), uid(7), uid(1)),
    )
    loaded = loader.load([under(n, None) for n in range(2, 11)], on_departure="delete")
    assert (loaded.departed, len(loaded.kept_leavers), len(loader.rows())) == (0, 1, 11)
    assert loader.rows("supervisor_id")[-1] == (uid(1),)


@pytest.mark.parametrize("action", ACTIONS)
def test_the_column_that_the_file_lacks_counts_as_it_is_stored(loader: Loader, action: str) -> None:
    create(loader, action)
    loader.load([under(n, None if n == 0 else 0) for n in range(40)])
    loaded = loader.load([member(n) for n in range(30, 40)], on_departure="delete", max_departures="99%")
    assert (loaded.departed, loaded.rejected, len(loader.rows())) == (29, 0, 11)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_leaver_whose_subordinates_get_another_goes(loader: Loader, action: str) -> None:
    create(loader, action)
    loader.load([under(n, None if n < 2 else 0) for n in range(20)])
    loaded = loader.load([under(n, None if n < 2 else 1) for n in range(1, 20)], on_departure="delete")
    assert counts(loaded) == {"read": 19, "updated": 18, "unchanged": 1, "departed": 1}


def test_of_leavers_who_refer_to_each_other_those_that_a_kept_one_needs_are_kept_too(loader: Loader) -> None:
    create(loader, "CASCADE")
    loader.load([under(0, None), under(1, 0), under(2, 1), *(under(n, None) for n in range(3, 20))])
    rows = [under(2, 1), *(under(n, None) for n in range(3, 20))]
    loaded = loader.load(rows, on_departure="delete")
    assert (loaded.departed, len(loaded.kept_leavers), len(loader.rows())) == (0, 2, 20)


def test_an_exchange_with_null_where_nulls_are_not_distinct(loader: Loader) -> None:
    loader.create("lms_user_id uuid PRIMARY KEY, u text, UNIQUE NULLS NOT DISTINCT (u)")
    loader.load([{"lms_user_id": uid(1), "u": None}, {"lms_user_id": uid(2), "u": "b"}])
    loaded = loader.load([{"lms_user_id": uid(1), "u": "b"}, {"lms_user_id": uid(2), "u": None}])
    assert (counts(loaded), loader.rows("u")) == ({"read": 2, "updated": 2}, [("b",), (None,)])


def test_an_exchange_under_a_unique_generated_column(loader: Loader) -> None:
    loader.create("lms_user_id uuid PRIMARY KEY, u text, g text GENERATED ALWAYS AS (lower(u)) STORED UNIQUE")
    loader.load([{"lms_user_id": uid(n), "u": f"U{n}"} for n in (1, 2, 3)])
    loaded = loader.load([{"lms_user_id": uid(n), "u": f"u{n % 3 + 1}"} for n in (1, 2, 3)])
    assert (counts(loaded), loader.rows("g")) == ({"read": 3, "updated": 3}, [("u2",), ("u3",), ("u1",)])


def test_an_exchange_of_a_value_that_another_row_refers_to_says_what_to_change(loader: Loader) -> None:
    loader.create(f"lms_user_id uuid PRIMARY KEY, u text UNIQUE, s text REFERENCES {TABLE} (u)")
    loader.load([{"lms_user_id": uid(1), "u": "z", "s": None}, {"lms_user_id": uid(2), "u": "b", "s": "z"}])
    loaded = loader.load([{"lms_user_id": uid(1), "u": "b", "s": "z"}, {"lms_user_id": uid(2), "u": "z", "s": "b"}])
    assert loaded.rejected == 2
    assert loaded.rejected_because.endswith("make the constraint DEFERRABLE (2 rows)")


@pytest.mark.parametrize("kind", ["double precision", "int4range", "point"])
def test_a_key_of_a_type_that_cannot_match_exactly_is_named(loader: Loader, kind: str) -> None:
    from tasks.errors import SchemaMismatch
    from tasks.load.align import align
    from tasks.load.schema import TableColumn, TableSchema

    with pytest.raises(SchemaMismatch, match=f"lms_user_id has type {kind}"):
        align(["lms_user_id"], TableSchema(SCHEMA, "t", (TableColumn("lms_user_id", kind, kind),)))


def test_a_departed_at_of_the_file_gives_way_to_the_loads_own_and_is_said_to(loader: Loader) -> None:
    loaded = loader.load([member(1, departed_at="2020-01-01T00:00:00Z")], on_departure="mark")
    assert (loaded.ignored_columns, loader.rows("departed_at")) == (("departed_at",), [(None,)])


def test_a_column_that_postgresql_keeps_for_itself_is_not_added(loader: Loader) -> None:
    from tasks.errors import SchemaMismatch

    for dry_run in (True, False):
        with pytest.raises(SchemaMismatch, match="names ctid, which is reserved by PostgreSQL"):
            loader.load([member(1, ctid="x")], schema_contract="evolve", dry_run=dry_run)


def test_rows_that_a_trigger_refuses_are_given_up_at_the_limit(loader: Loader) -> None:
    from tasks.errors import TooManyRejected

    loader.database.query(
        f'CREATE FUNCTION "{SCHEMA}".no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN '
        f"PERFORM nextval('\"{SCHEMA}\".asked'); RAISE 'no'; END $$; CREATE SEQUENCE \"{SCHEMA}\".asked;"
        f'CREATE TRIGGER no BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".no()'
    )
    with pytest.raises(TooManyRejected, match="found 21 or more"):
        loader.load([member(n) for n in range(2000)])
    assert loader.database.query(f'SELECT last_value < 100 FROM "{SCHEMA}".asked') == [(True,)]


def test_many_refused_rows_cost_about_the_same_each(loader: Loader) -> None:
    """Savepoints that stay open slow down all that follow, so none does."""
    loader.create("lms_user_id uuid PRIMARY KEY, u text UNIQUE")
    loader.load([{"lms_user_id": uid(n), "u": str(n)} for n in range(400)])
    rows: list[Row] = [{"lms_user_id": uid(n), "u": str(min(n + 1, 399))} for n in range(400)]
    assert counts(loader.load(rows, max_rejected="100%")) == {"read": 400, "unchanged": 1, "rejected": 399}


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
@pytest.mark.parametrize("gender", ["9", "x"], ids=["by a CHECK", "by its cast"])
def test_a_refused_row_is_not_taken_along_by_its_leaving_supervisor(loader: Loader, action: str, gender: str) -> None:
    reference = f"supervisor_id uuid REFERENCES {TABLE} ON DELETE {action}"
    loader.create(COLUMNS.replace("gender integer", "gender integer CHECK (gender < 9)") + f", {reference}")
    people = [member(n, supervisor_id=uid(2) if n == 4 else None) for n in range(1, 5)]
    loader.load(people)
    moved = [people[0], people[2], member(4, supervisor_id=uid(1), gender=gender)]
    loaded = loader.load(moved, on_departure="delete", max_departures="50%")
    assert (loaded.rejected, loaded.departed, len(loaded.kept_leavers)) == (1, 0, 1)
    assert (uid(4), uid(2)) in loader.rows("lms_user_id, supervisor_id")


def test_a_row_that_a_replay_leaves_as_it_is_is_not_taken_along(loader: Loader) -> None:
    loader.create(COLUMNS + f", supervisor_id uuid REFERENCES {TABLE} ON DELETE CASCADE")
    first, later = "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"
    loader.load([member(1, edited=first), member(2, edited=first), member(3, edited=later, supervisor_id=uid(2))])
    again = [member(1, edited=first), member(3, edited=first, supervisor_id=uid(1))]
    loader.load(again, on_departure="delete", max_departures="50%", replay=True)
    assert uid(3) in [key for (key,) in loader.rows("lms_user_id")]
