"""Rows that cannot be loaded are set aside with their reason, whatever refuses them."""

import random
import re

import pytest

from tasks.errors import TooManyRejected
from tests.support.loader import COLUMNS, SCHEMA, TABLE, Loader, Row, counts, member, uid
from tests.support.snapshots import snapshot, write_csv


def reasons(loader: Loader) -> list[str]:
    return [line.split(',"00')[0] for line in loader.rejects[-1].decode().splitlines()[1:]]


REFUSALS = [
    ("a cast", COLUMNS, {"gender": "x"}, '"gender","expected an integer"'),
    ("a range", COLUMNS, {"gender": "99999999999"}, '"gender","is out of range for type integer"'),
    ("a length", COLUMNS, {"first_name": "much too long a name"}, '"first_name","expected at most 10 characters"'),
    ("bad JSON", COLUMNS, {"custom_fields": "{x"}, '"custom_fields","expected a value of type jsonb"'),
    ("a NUL", COLUMNS, {"first_name": "a\0b"}, '"first_name","contains a NUL character, which PostgreSQL cannot store"'),
    ("a key", COLUMNS, {"lms_user_id": None}, '"lms_user_id","expected a key, found none"'),
    ("NOT NULL", COLUMNS.replace("gender integer", "gender integer NOT NULL"), {"gender": None}, '"gender","must have a value (NOT NULL)"'),
    ("CHECK", COLUMNS.replace("gender integer", "gender integer CHECK (gender < 3)"), {"gender": "7"},
     '"gender","violates the table\'s check ""department_members_gender_check"""'),
    ("a CHECK on a column that the file lacks", COLUMNS + ", CHECK (gender < 3 OR departed_at IS NOT NULL)", {"gender": "7"},
     '"gender, departed_at","violates the table\'s check ""department_members_check"""'),
    ("a foreign key", COLUMNS.replace("gender integer", 'gender integer REFERENCES "Business Tracking".genders'),
     {"gender": "7"}, '"gender","refers to a missing row, or is still referred to (foreign key ""department_members_gender_fkey"")"'),
    ("a unique constraint", COLUMNS.replace("first_name varchar(10)", "first_name varchar(10) UNIQUE"),
     {"first_name": "name3"}, '"first_name","another row already has this value (unique constraint ""department_members_first_name_key"")"'),
    ("an enum", COLUMNS.replace("gender integer", 'gender "Business Tracking".sex'), {"gender": "7"}, '"gender","expected a value of type'),
    ("a trigger", COLUMNS, {"first_name": "forbidden"}, '"","refused by a trigger or function of the table (SQLSTATE P0001)"'),
    ("a trigger that is silent", COLUMNS, {"first_name": "swallowed"}, '"","the table dropped the row without an error'),
]  # fmt: skip
TRIGGER = f"""
CREATE FUNCTION "{SCHEMA}".guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.first_name = 'forbidden' THEN RAISE 'not %', NEW.first_name; END IF;
    IF NEW.first_name = 'swallowed' THEN RETURN NULL; END IF;
    RETURN NEW;
END $$;
"""


@pytest.mark.parametrize(
    ("columns", "bad", "says"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_whatever_refuses_a_row_it_is_set_aside_with_its_reason(
    loader: Loader, columns: str, bad: Row, says: str
) -> None:
    loader.database.query(
        f'CREATE TABLE "{SCHEMA}".genders (id integer PRIMARY KEY); INSERT INTO "{SCHEMA}".genders VALUES (1);'
        f"CREATE TYPE \"{SCHEMA}\".sex AS ENUM ('1'); {TRIGGER}"
    )
    loader.create(columns)
    loader.database.query(
        f'CREATE TRIGGER guard BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION "{SCHEMA}".guard()'
    )
    rows = [member(number, f"name{number}") for number in range(40)]
    rows[17] = {**rows[17], **bad}
    loaded = loader.load(rows)
    assert counts(loaded) == {"read": 40, "inserted": 39, "rejected": 1}
    [reason] = reasons(loader)
    assert reason.startswith(f"19,{says}")
    assert len(loader.rows()) == 39


def test_an_unchanged_row_that_a_later_check_would_refuse_is_left_alone(loader: Loader) -> None:
    rows = [member(1), {**member(2), "gender": "7"}]
    loader.load(rows)
    loader.database.query(f"ALTER TABLE {TABLE} ADD CHECK (gender < 3) NOT VALID")
    assert counts(loader.load(rows)) == {"read": 2, "unchanged": 2}


def test_many_bad_rows_of_many_kinds_leave_exactly_the_good_ones(loader: Loader) -> None:
    loader.create(COLUMNS.replace("gender integer", "gender integer CHECK (gender < 3)"))
    rng = random.Random(7)
    spoilt: list[Row] = [{"gender": "x"}, {"gender": "9"}, {"first_name": "x" * 11}, {"date_edited": "today"}]
    bad = set(rng.sample(range(9000), 60))
    rows = [{**member(n), **(rng.choice(spoilt) if n in bad else {})} for n in range(9000)]
    loaded = loader.load(rows)
    assert counts(loaded) == {"read": 9000, "inserted": 8940, "rejected": 60}
    assert {row[0] for row in loader.rows()} == {uid(n) for n in range(9000)} - {uid(n) for n in bad}
    assert sorted(int(reason.split(",")[0]) for reason in reasons(loader)) == sorted(n + 2 for n in bad)


def test_rows_that_refer_to_each_other_are_not_refused_for_their_order(loader: Loader) -> None:
    loader.create(COLUMNS + f", supervisor_id uuid REFERENCES {TABLE}")
    rows = [member(n, supervisor_id=uid((n + 5000) % 10000)) for n in range(10000)]
    rows[77]["supervisor_id"] = uid(99999)
    rows[5077]["supervisor_id"] = None
    loaded = loader.load(rows)
    assert (loaded.rejected, loaded.inserted) == (1, 9999)


def test_line_numbers_count_the_lines_inside_quotes(loader: Loader) -> None:
    rows = [member(1, "a\nb\nc"), member(2), member(3, gender="x"), member(4, "much too long")]
    assert loader.load(rows, max_rejected="2").rejected == 2
    assert [reason.split(",")[0] for reason in reasons(loader)] == ["6", "7"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("seed", range(6))
def test_only_the_rows_that_postgresql_refuses_are_set_aside_wherever_line_ends_lie_inside_quotes(
    loader: Loader, seed: int, line_end: str
) -> None:
    """PostgreSQL does not count them in the first line that it gets, nor bare ones in a file of CR LF."""
    loader.create(COLUMNS.replace("gender integer", "gender integer CHECK (gender < 3)"))
    rng = random.Random(seed)
    bad = set(rng.sample(range(60), 6))
    names = ["Ada", "a\nb", "a\n\n\nb", "a\rb", "\n", "a\r\nb"]
    spoilt: list[Row] = [{"gender": "7"}, {"custom_fields": "{"}, {"date_edited": "2026-02-31"}]
    rows = [{**member(n, rng.choice(names)), **(rng.choice(spoilt) if n in bad else {})} for n in range(60)]
    path = write_csv(loader.folder / "quotes.csv", rows)
    path.write_bytes(re.sub(rb'"\n(?="|$)', b'"' + line_end.encode(), path.read_bytes()))
    loaded = loader.load(snapshot(path, rows=None))
    assert counts(loaded) == {"read": 60, "inserted": 54, "rejected": 6}
    assert {row[0] for row in loader.rows()} == {uid(n) for n in range(60)} - {uid(n) for n in bad}


def test_too_many_rejected_rows_change_nothing(loader: Loader) -> None:
    loader.load([member(1)])
    before = loader.rows("*")
    with pytest.raises(TooManyRejected, match="expected at most 10 rejected rows.*gender: expected an integer"):
        loader.load([member(1, "Bea"), *(member(n, gender="x") for n in range(2, 20))])
    assert loader.rows("*") == before
    assert loader.ledger() == [(1,)]


@pytest.mark.parametrize(("limit", "passes"), [("0", False), ("2", False), ("3", True), ("30%", True), ("29%", False)])
def test_the_threshold_is_a_number_or_a_percentage(loader: Loader, limit: str, passes: bool) -> None:
    rows = [member(n, gender="x" if n < 3 else "1") for n in range(10)]
    if passes:
        assert loader.load(rows, max_rejected=limit).rejected == 3
    else:
        with pytest.raises(TooManyRejected):
            loader.load(rows, max_rejected=limit)


def test_a_corrected_reject_file_loads_by_itself(loader: Loader) -> None:
    loader.load([member(1), member(2, 'a,"b"\nc', gender="x"), member(3, gender="y")])
    corrected = loader.folder / "corrected.csv"
    corrected.write_bytes(loader.rejects[0].replace(b'"x"', b'"2"'))
    loaded = loader.load(snapshot(corrected, 90, rows=None))
    assert counts(loaded) == {"read": 2, "inserted": 1, "rejected": 1}
    assert loader.rows()[1] == (uid(2), 'a,"b"\nc')
    assert loader.rejects[1].decode().splitlines()[0].count("rejected_line") == 1
    assert [reason.split(",")[0] for reason in reasons(loader)] == ["4"]


def test_no_message_and_no_report_holds_a_persons_data(loader: Loader) -> None:
    rows = [member(1), member(2, "Marker-Name-Too-Long"), member(3, gender="Marker-Gender")]
    loaded = loader.load(rows)
    assert "Marker" not in f"{loaded}"
    with pytest.raises(TooManyRejected) as caught:
        loader.load(rows, max_rejected="1")
    assert "Marker" not in str(caught.value)
