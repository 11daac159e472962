"""The read-back: what the table itself does to rows is seen before the commit, and said."""

import pytest

from tests.support.loader import COLUMNS, SCHEMA, TABLE, Loader, counts, member, uid


def trigger(loader: Loader, body: str, when: str = "BEFORE INSERT OR UPDATE") -> None:
    loader.database.query(
        f'CREATE OR REPLACE FUNCTION "{SCHEMA}".act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;'
        f'CREATE TRIGGER act {when} ON {TABLE} FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".act()'
    )


def reject_reasons(loader: Loader) -> list[str]:
    return [line.split('","')[0] + " " + line.split('"')[3] for line in loader.rejects[-1].decode().splitlines()[1:]]


@pytest.mark.parametrize(
    "body",
    [
        "IF NEW.first_name = 'Bea' THEN RETURN NULL; END IF; RETURN NEW;",
        "IF NEW.first_name = 'Bea' THEN RETURN OLD; END IF; RETURN NEW;",
    ],
)
def test_an_update_that_the_table_swallows_is_a_reject(loader: Loader, body: str) -> None:
    loader.load([member(1), member(2), member(3)])
    trigger(loader, body, "BEFORE UPDATE")
    loaded = loader.load([member(1, "Bea"), member(2, "Cid"), member(3)])
    if "OLD" in body:  # the row was written, with the values that the table chose
        assert (loaded.updated, loaded.altered, loaded.altered_columns) == (2, 1, ("first_name (1 rows)",))
    else:
        assert counts(loaded) == {"read": 3, "updated": 1, "unchanged": 1, "rejected": 1}
        assert "the table dropped the row without an error" in loaded.rejected_because


def test_an_insert_that_a_rule_or_trigger_takes_elsewhere_is_a_reject(loader: Loader) -> None:
    trigger(loader, "IF NEW.first_name = 'Bea' THEN RETURN NULL; END IF; RETURN NEW;", "BEFORE INSERT")
    loaded = loader.load([member(1), member(2, "Bea")])
    assert counts(loaded) == {"read": 2, "inserted": 1, "rejected": 1}


@pytest.mark.parametrize("when", ["BEFORE INSERT OR UPDATE", "AFTER INSERT"])
def test_rows_that_the_tables_own_trigger_changes_are_listed_beside_the_sum(loader: Loader, when: str) -> None:
    act = {
        "BEFORE INSERT OR UPDATE": "NEW.first_name := lower(NEW.first_name); RETURN NEW;",
        "AFTER INSERT": f"UPDATE {TABLE} SET first_name = lower(first_name) WHERE lms_user_id = NEW.lms_user_id; RETURN NULL;",
    }[when]
    trigger(loader, act, when)
    loaded = loader.load([member(1), member(2, "bea")])
    assert counts(loaded) == {"read": 2, "inserted": 2, "altered": 1}
    assert loaded.altered_columns == ("first_name (1 rows)",)


def test_a_row_that_a_deferred_trigger_removes_again_is_a_reject(loader: Loader) -> None:
    loader.database.query(
        f'CREATE FUNCTION "{SCHEMA}".remove() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN '
        f"DELETE FROM {TABLE} WHERE first_name = 'Bea'; RETURN NULL; END $$;"
        f"CREATE CONSTRAINT TRIGGER remove AFTER INSERT ON {TABLE} DEFERRABLE INITIALLY DEFERRED "
        f'FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".remove()'
    )
    assert counts(loader.load([member(1), member(2, "Bea")])) == {"read": 2, "inserted": 1, "rejected": 1}


def test_a_row_that_was_the_same_and_that_a_trigger_removes_with_a_leaver_is_not_lost_silently(loader: Loader) -> None:
    rows = [member(n) for n in range(1, 11)]
    loader.load(rows)
    trigger(loader, f"DELETE FROM {TABLE} WHERE lms_user_id = '{uid(2)}'; RETURN NULL;", "AFTER DELETE")
    loaded = loader.load(rows[1:], on_departure="delete")
    assert counts(loaded) == {"read": 9, "unchanged": 8, "rejected": 1, "departed": 1}


def test_a_check_is_asked_after_the_trigger_that_corrects_the_row(loader: Loader) -> None:
    loader.create(
        COLUMNS.replace("first_name varchar(10)", "first_name varchar(10) CHECK (first_name = lower(first_name))")
    )
    trigger(loader, "NEW.first_name := lower(NEW.first_name); RETURN NEW;")
    assert counts(loader.load([member(1, "ADA"), member(2, "bea")])) == {"read": 2, "inserted": 2, "altered": 1}


def test_a_not_null_is_asked_after_the_trigger_that_fills_it_in(loader: Loader) -> None:
    loader.create(COLUMNS.replace("gender integer", "gender integer NOT NULL"))
    trigger(loader, "NEW.gender := coalesce(NEW.gender, 0); RETURN NEW;")
    assert counts(loader.load([member(1), {**member(2), "gender": None}])) == {"read": 2, "inserted": 2, "altered": 1}


def test_a_unique_value_that_a_trigger_makes_is_judged_as_made(loader: Loader) -> None:
    loader.create(COLUMNS.replace("first_name varchar(10)", "first_name varchar(10) UNIQUE"))
    trigger(loader, "NEW.first_name := lower(NEW.first_name); RETURN NEW;")
    loaded = loader.load([member(1, "ADA"), member(2, "ada"), member(3, "Bea")])
    assert counts(loaded) == {"read": 3, "inserted": 2, "rejected": 1, "altered": 2}


def test_a_partition_whose_columns_have_another_order_loads(loader: Loader) -> None:
    loader.database.query(f"DROP TABLE {TABLE}; CREATE TABLE {TABLE} ({COLUMNS}) PARTITION BY HASH (lms_user_id)")
    for number in range(2):
        columns = ", ".join(reversed(COLUMNS.strip().split(","))).replace("PRIMARY KEY", "NOT NULL")
        loader.database.query(
            f'CREATE TABLE "{SCHEMA}".p{number} ({columns}); ALTER TABLE {TABLE} ATTACH PARTITION "{SCHEMA}".p{number} '
            f"FOR VALUES WITH (MODULUS 2, REMAINDER {number})"
        )
    assert counts(loader.load([member(n) for n in range(20)])) == {"read": 20, "inserted": 20}
    second = loader.load([member(n, "Bea" if n < 5 else "Ada") for n in range(21)])
    assert counts(second) == {"read": 21, "inserted": 1, "updated": 5, "unchanged": 15}


def as_role(loader: Loader, monkeypatch: pytest.MonkeyPatch, setup: str) -> None:
    """Load as a role that owns nothing."""
    loader.database.query(
        "DROP ROLE IF EXISTS humble; CREATE ROLE humble LOGIN PASSWORD 'humble';"
        f'GRANT USAGE, CREATE ON SCHEMA "{SCHEMA}" TO humble; GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO humble; {setup}'
    )
    monkeypatch.setenv("BUSINESS_TRACKING_USER", "humble")
    monkeypatch.setenv("BUSINESS_TRACKING_PASSWORD", "humble")


@pytest.fixture
def owner(loader: Loader, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    admin = dict(loader.database.variables)
    loader.database.variables["BUSINESS_TRACKING_USER"] = "postgres"
    yield loader
    loader.database.query("DROP OWNED BY humble; DROP ROLE humble")
    loader.database.variables.update(admin)


def test_a_foreign_key_to_a_table_that_may_not_be_read_rejects_its_rows_alone(
    owner: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.database.query(
        f'CREATE TABLE "{SCHEMA}".genders (id integer PRIMARY KEY); INSERT INTO "{SCHEMA}".genders VALUES (1)'
    )
    owner.create(COLUMNS.replace("gender integer", f'gender integer REFERENCES "{SCHEMA}".genders'))
    as_role(owner, monkeypatch, "")
    loaded = owner.load([*(member(n) for n in range(30)), member(40, gender="7"), member(41, "much too long a name")])
    assert counts(loaded) == {"read": 32, "inserted": 30, "rejected": 2}


def test_a_row_that_row_level_security_refuses_is_one_reject(owner: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    as_role(
        owner,
        monkeypatch,
        f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON {TABLE} TO humble "
        "USING (true) WITH CHECK (first_name <> 'Bea')",
    )
    loaded = owner.load([member(1), member(2, "Bea"), member(3)])
    assert counts(loaded) == {"read": 3, "inserted": 2, "rejected": 1}
    assert "row level security" in loaded.rejected_because


@pytest.mark.parametrize(
    "fails", ["PERFORM 1 FROM nowhere", f"PERFORM currval('\"{SCHEMA}\".s3cret')", "EXECUTE 'SELECT 1 +'"]
)
def test_a_row_whose_trigger_fails_without_a_raise_is_one_reject(loader: Loader, fails: str) -> None:
    loader.database.query(f'CREATE SEQUENCE "{SCHEMA}".s3cret')
    trigger(loader, f"IF NEW.first_name = 'Bea' THEN {fails}; END IF; RETURN NEW;")
    loaded = loader.load([member(1), member(2, "Bea")])
    assert counts(loaded) == {"read": 2, "inserted": 1, "rejected": 1}
    assert "refused by" in loaded.rejected_because
    assert "s3cret" not in loaded.rejected_because


def test_members_removed_by_the_trigger_of_a_table_that_a_leaver_takes_along_are_not_counted(loader: Loader) -> None:
    loader.database.query(
        f"""CREATE TABLE "{SCHEMA}".deputies (member uuid REFERENCES {TABLE} ON DELETE CASCADE, deputy uuid);
        CREATE FUNCTION "{SCHEMA}".gone() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN DELETE FROM {TABLE} WHERE lms_user_id = OLD.deputy; RETURN NULL; END $$;
        CREATE TRIGGER gone AFTER DELETE ON "{SCHEMA}".deputies FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".gone()"""
    )
    loader.load([member(n) for n in range(1, 11)])
    loader.database.query(f'INSERT INTO "{SCHEMA}".deputies VALUES (%s, %s)', (uid(10), uid(1)))
    loaded = loader.load([member(n) for n in range(1, 10)], on_departure="delete")
    assert counts(loaded) == {"read": 9, "unchanged": 8, "rejected": 1, "departed": 1}
    assert len(loader.rows()) == 8
