"""A snapshot is one state: rows are judged by what the table will hold after the whole load, not one at a time."""

from collections.abc import Iterator

import pytest

from tests.support.loader import COLUMNS, SCHEMA, TABLE, Loader, Row, counts, member, uid

BASE = "lms_user_id uuid PRIMARY KEY, department_id uuid, first_name text, departed_at timestamptz"
UNIQUE = "user_name text UNIQUE"
SUPERVISED = f"supervisor_id uuid REFERENCES {TABLE}"


def person(number: int, user_name: str | None = None, supervisor: int | None = None, **more: str | None) -> Row:
    row: Row = {"lms_user_id": uid(number), "department_id": member(1)["department_id"], **more}
    row |= {"user_name": user_name} if user_name is not None else {}
    return row | {"supervisor_id": uid(supervisor) if supervisor else None} if supervisor is not None else row


def names(loader: Loader) -> dict[int, str]:
    return {int(key[-12:]): name for key, name in loader.rows("lms_user_id, user_name")}


def rejected(loader: Loader) -> list[str]:
    return [line.split('"')[0] + line.split('"')[1] for line in loader.rejects[-1].decode().splitlines()[1:]]


@pytest.mark.parametrize(
    "unique",
    [
        UNIQUE,
        "user_name text NOT NULL UNIQUE",
        "user_name varchar(10) NOT NULL UNIQUE",
        "user_name name NOT NULL UNIQUE",
        "user_name text UNIQUE DEFERRABLE",
        "user_name text UNIQUE DEFERRABLE INITIALLY DEFERRED",
        "user_name text, EXCLUDE USING btree (user_name WITH =)",
        "user_name text, EXCLUDE USING hash (user_name WITH =)",
        "user_name text, UNIQUE (user_name, department_id)",
        "user_name text UNIQUE NULLS NOT DISTINCT",
    ],
)
@pytest.mark.parametrize("order", [[2, 1], [2, 3, 1], [3, 1, 2], [2, 1, 4, 3], [2, 3, 4, 5, 6, 1]])
def test_values_may_swap_and_rotate(loader: Loader, unique: str, order: list[int]) -> None:
    loader.create(f"{BASE}, {unique}")
    loader.load([person(n, f"u{n}") for n in range(1, len(order) + 1)])
    loaded = loader.load([person(n, f"u{to}") for n, to in enumerate(order, 1)])
    assert counts(loaded) == {"read": len(order), "updated": len(order)}
    assert names(loader) == {n: f"u{to}" for n, to in enumerate(order, 1)}


@pytest.mark.parametrize("step", [1, -1])
def test_a_chain_finds_its_order_and_no_row_is_written_twice(loader: Loader, step: int) -> None:
    loader.create(f"{BASE}, {UNIQUE}, writes integer DEFAULT 0")
    count_writes(loader)
    people = range(1, 301)
    loader.load([person(n, f"u{n}") for n in people])
    loaded = loader.load([person(n, f"u{n + step}") for n in people])
    assert counts(loaded) == {"read": 300, "updated": 300}
    assert loader.database.query(f"SELECT DISTINCT writes FROM {TABLE}") == [(1,)]


def count_writes(loader: Loader) -> None:
    loader.database.query(
        f'CREATE FUNCTION "{SCHEMA}".count_writes() RETURNS trigger LANGUAGE plpgsql AS '
        "$$ BEGIN NEW.writes := OLD.writes + 1; RETURN NEW; END $$;"
        f'CREATE TRIGGER count_writes BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".count_writes()'
    )


def test_of_a_cycle_one_row_takes_the_detour(loader: Loader) -> None:
    loader.create(f"{BASE}, {UNIQUE}, writes integer DEFAULT 0")
    count_writes(loader)
    loader.load([person(n, f"u{n}") for n in range(1, 6)])
    loader.load([person(1, "u2"), person(2, "u3"), person(3, "u1"), person(4, "u4"), person(5, "v5")])
    assert [writes for (writes,) in loader.rows("writes")] == [2, 1, 1, 0, 1]


def test_a_large_rotation_is_quick(loader: Loader) -> None:
    loader.create(f"{BASE}, {UNIQUE}")
    people = range(5000)
    loader.load([person(n, f"u{n}") for n in people])
    assert counts(loader.load([person(n, f"u{(n + 1) % 5000}") for n in people])) == {"read": 5000, "updated": 5000}


def test_a_table_that_refuses_the_detour_says_what_to_change(loader: Loader) -> None:
    loader.create(f"{BASE}, user_name text NOT NULL UNIQUE CHECK (user_name IN ('ann', 'bob'))")
    loader.load([person(1, "ann"), person(2, "bob")])
    loaded = loader.load([person(1, "bob"), person(2, "ann")])
    assert (loaded.rejected, names(loader)) == (2, {1: "ann", 2: "bob"})
    assert "make the constraint DEFERRABLE" in loaded.rejected_because


def test_a_swap_of_which_one_row_is_refused_leaves_both_as_they_were(loader: Loader) -> None:
    loader.create(f"{BASE}, {UNIQUE}, CHECK (first_name <> 'x')")
    loader.load([person(1, "ann"), person(2, "bob"), person(3, "cid")])
    loaded = loader.load([person(1, "bob"), person(2, "ann", first_name="x"), person(3, "dan")])
    assert (loaded.updated, names(loader)) == (1, {1: "ann", 2: "bob", 3: "dan"})
    assert rejected(loader) == ["2,user_name", "3,first_name"]


def test_of_rows_that_compete_the_one_that_holds_the_value_wins_then_the_first_in_the_file(loader: Loader) -> None:
    loader.create(f"{BASE}, {UNIQUE}")
    loader.load([person(1, "ann"), person(2, "bob")])
    loaded = loader.load(
        [person(5, "ann"), person(6, "new"), person(7, "new"), person(1, "ann", first_name="x"), person(2, "bob")]
    )
    assert counts(loaded) == {"read": 5, "inserted": 1, "updated": 1, "unchanged": 1, "rejected": 2}
    assert names(loader) == {1: "ann", 2: "bob", 6: "new"}
    assert rejected(loader) == ["2,user_name", "4,user_name"]


def test_a_value_that_one_row_gives_up_goes_to_the_first_in_the_file_that_wants_it(loader: Loader) -> None:
    loader.create(f"{BASE}, {UNIQUE}")
    loader.load([person(90, "x")])
    loader.load([person(5, "x"), person(50, "x"), person(90, "y")])
    assert names(loader) == {5: "x", 90: "y"}


@pytest.mark.parametrize("unique", [UNIQUE, "user_name text UNIQUE DEFERRABLE INITIALLY DEFERRED"])
def test_a_member_who_is_made_anew_under_another_id_takes_the_leavers_value(loader: Loader, unique: str) -> None:
    loader.create(f"{BASE}, {unique}")
    loader.load([person(n, f"u{n}") for n in range(1, 11)])
    loaded = loader.load([*(person(n, f"u{n}") for n in range(2, 11)), person(11, "u1")], on_departure="delete")
    assert counts(loaded) == {"read": 10, "inserted": 1, "unchanged": 9, "departed": 1}
    assert names(loader)[11] == "u1"


@pytest.mark.parametrize(
    "unique",
    [
        "user_name text, EXCLUDE USING btree (user_name WITH =) WHERE (site IS NOT NULL)",
        "user_name text, UNIQUE (user_name, site)",
        "user_name text, plain text GENERATED ALWAYS AS (lower(user_name)) STORED UNIQUE",
    ],
)
def test_of_rivals_for_a_leavers_value_the_first_in_the_file_wins_where_the_table_fills_in_columns(
    loader: Loader, unique: str
) -> None:
    loader.create(f"{BASE}, {unique}, site text DEFAULT 'head office' NOT NULL")
    loader.load([person(1, "bob"), *(person(n, f"u{n}") for n in range(10, 20))])
    people = [person(7, "bob"), person(4, "bob"), *(person(n, f"u{n}") for n in range(10, 20))]
    loaded = loader.load(people, on_departure="delete")
    assert (loaded.inserted, loaded.departed, loaded.rejected) == (1, 1, 1)
    assert names(loader)[7] == "bob"


@pytest.mark.parametrize("step", [1, -1])
def test_a_chain_of_values_that_the_table_makes_finds_its_order(loader: Loader, step: int) -> None:
    loader.create(f"{BASE}, user_name text, plain text GENERATED ALWAYS AS (lower(user_name)) STORED UNIQUE")
    people = range(1, 301)
    loader.load([person(n, f"U{n}") for n in people])
    loaded = loader.load([person(n, f"u{n + step}") for n in people])
    assert counts(loaded) == {"read": 300, "updated": 300}


@pytest.mark.parametrize("deferrable", ["", " DEFERRABLE"])
def test_a_row_that_others_wait_for_does_not_overtake_the_first_in_the_file(loader: Loader, deferrable: str) -> None:
    """4 waits for its supervisor 5, who waits for the value of 3; so 3 is written first. 5 has no supervisor."""
    loader.create(f"{BASE}, {UNIQUE}{deferrable}, {SUPERVISED}")
    loader.load([person(3, "old")])
    rows = [person(4, "new", 5), person(7, "new"), person(5, "old", 1), person(3, "new")]
    loaded = loader.load([{"supervisor_id": None, **row} for row in rows])
    assert counts(loaded) == {"read": 4, "inserted": 1, "rejected": 3}
    assert names(loader) == {3: "old", 7: "new"}


def test_a_marked_leaver_frees_what_a_partial_index_says(loader: Loader) -> None:
    loader.create(f"{BASE}, user_name text")
    loader.database.query(f"CREATE UNIQUE INDEX ON {TABLE} (lower(user_name)) WHERE departed_at IS NULL")
    loader.load([person(n, f"u{n}") for n in range(1, 11)])
    loaded = loader.load(
        [*(person(n, f"u{n}") for n in range(2, 11)), person(11, "U1"), person(12, "U5")], on_departure="mark"
    )
    assert (loaded.inserted, loaded.departed, loaded.rejected) == (1, 1, 1)


def test_members_who_supervise_each_other_come_in_together(loader: Loader) -> None:
    loader.create(f"{BASE}, {UNIQUE}, {SUPERVISED}")
    rows = [person(1, "a", 4), person(2, "b", 1), person(3, "c", 2), person(4, "d", 1), person(5, "a", 1)]
    assert counts(loader.load(rows)) == {"read": 5, "inserted": 4, "rejected": 1}
    assert rejected(loader) == ["6,user_name"]


def test_a_supervisor_leaves_whose_subordinates_get_another_in_the_same_snapshot(loader: Loader) -> None:
    loader.create(f"{BASE}, {UNIQUE}, {SUPERVISED}")
    loader.load([person(1, "u1", 0), *(person(n, f"u{n}", 1) for n in range(2, 11))])
    rows = [person(11, "u1", 0), *(person(n, f"u{n}", 11) for n in range(2, 11))]
    rows.append(person(12, "u2", 11))  # and one bad row, so that the whole is not taken at once
    loaded = loader.load(rows, on_departure="delete")
    assert counts(loaded) == {"read": 11, "inserted": 1, "updated": 9, "departed": 1, "rejected": 1}


def test_a_leaver_whom_another_table_refers_to_is_kept_and_named(loader: Loader) -> None:
    loader.create(f"{BASE}, {UNIQUE}")
    loader.load([person(n, f"u{n}") for n in range(1, 11)])
    loader.database.query(
        f'CREATE TABLE "{SCHEMA}".badges (owner uuid REFERENCES {TABLE}); INSERT INTO "{SCHEMA}".badges VALUES (%s)',
        (uid(1),),
    )
    rows = [*(person(n, f"u{n}") for n in range(3, 11)), person(11, "u1"), person(12, "u2")]
    loaded = loader.load(rows, on_departure="delete")
    assert (loaded.departed, loaded.inserted, loaded.rejected) == (1, 1, 1)
    [kept] = loaded.kept_leavers
    assert kept.startswith(f"{uid(1)} (") and "badges_owner_fkey" in kept


@pytest.mark.parametrize("at_commit", ["UNIQUE DEFERRABLE INITIALLY DEFERRED", "UNIQUE DEFERRABLE", "UNIQUE"])
def test_one_repeated_value_among_many_is_one_reject_and_the_dry_run_says_so(loader: Loader, at_commit: str) -> None:
    loader.create(f"{BASE}, user_name text {at_commit}")
    source = loader.snapshot([person(n, f"u{n % 49}") for n in range(50)])
    dry = loader.load(source, dry_run=True)
    loaded = loader.load(source)
    assert counts(dry) == counts(loaded) == {"read": 50, "inserted": 49, "rejected": 1}
    assert rejected(loader) == ["51,user_name"]


@pytest.fixture
def checked(loader: Loader) -> Iterator[Loader]:
    loader.create(COLUMNS)
    loader.database.query(
        f'CREATE FUNCTION "{SCHEMA}".no_zed() RETURNS trigger LANGUAGE plpgsql AS '
        "$$ BEGIN IF NEW.first_name = 'zed' THEN RAISE 'no %', NEW.first_name; END IF; RETURN NULL; END $$;"
        f"CREATE CONSTRAINT TRIGGER no_zed AFTER INSERT ON {TABLE} DEFERRABLE INITIALLY DEFERRED "
        f'FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".no_zed()'
    )
    yield loader


def test_what_a_deferred_trigger_refuses_is_one_reject(checked: Loader) -> None:
    loaded = checked.load([member(n, "zed" if n == 7 else "Ada") for n in range(40)])
    assert counts(loaded) == {"read": 40, "inserted": 39, "rejected": 1}


def test_no_rejected_row_could_be_added(loader: Loader) -> None:
    """Row 2 competes with row 1 for a name, and row 1 is refused for another reason."""
    loader.create(f"{BASE}, {UNIQUE}, CHECK (first_name <> 'x') NOT VALID")
    loader.load([person(9, "z")])
    loaded = loader.load([person(1, "ann", first_name="x"), person(2, "ann"), person(3, "z"), person(9, "ann2")])
    assert names(loader) == {2: "ann", 3: "z", 9: "ann2"}
    assert loaded.rejected == 1


def test_a_swap_is_found_though_a_trigger_changes_the_values(loader: Loader) -> None:
    loader.create(f"{BASE}, {UNIQUE}")
    loader.database.query(
        f'CREATE FUNCTION "{SCHEMA}".lower_name() RETURNS trigger LANGUAGE plpgsql AS '
        "$$ BEGIN NEW.user_name := lower(NEW.user_name); RETURN NEW; END $$;"
        f"CREATE TRIGGER lower_name BEFORE INSERT OR UPDATE ON {TABLE} "
        f'FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".lower_name()'
    )
    loader.load([person(1, "ann"), person(2, "bob"), person(3, "cid")])
    loaded = loader.load([person(1, "BOB"), person(2, "ANN"), person(4, "Cid")])
    assert (loaded.updated, loaded.rejected, names(loader)) == (2, 1, {1: "bob", 2: "ann", 3: "cid"})
