"""Column names: compared as PostgreSQL cuts them, never guessed at, and neutral while rows are staged."""

import pytest

from tasks.errors import ObjectInvalid, SchemaMismatch
from tests.support.loader import COLUMNS, TABLE, Loader, Row, counts, member, uid
from tests.support.snapshots import snapshot

LONG = "customer_segment_" + "x" * 60
UMLAUTS = "ü" * 40  # 80 bytes, of which PostgreSQL keeps 62


@pytest.mark.parametrize("name", [LONG, UMLAUTS, "a" * 63, "a" * 64])
def test_a_long_name_is_added_once_and_loaded_ever_after(loader: Loader, name: str) -> None:
    for value, expected in (("1", "inserted"), ("1", "unchanged"), ("2", "updated")):
        assert counts(loader.load([member(1, **{name: value})], schema_contract="evolve")) == {"read": 1, expected: 1}
    assert counts(loader.load([member(1, **{name: "3"})], schema_contract="ignore")) == {"read": 1, "updated": 1}


def test_two_names_that_postgresql_would_cut_to_one_are_refused(loader: Loader) -> None:
    with pytest.raises(ObjectInvalid, match="distinct column names"):
        loader.load([member(1, **{LONG + "1": "a", LONG + "2": "b"})], schema_contract="evolve")


@pytest.mark.parametrize("name", ["First_Name", "first_name ", " first_name", "FIRST_NAME", "first _name"])
@pytest.mark.parametrize("contract", ["ignore", "evolve", "fail"])
def test_a_name_that_is_a_columns_but_for_case_or_blanks_is_refused(loader: Loader, name: str, contract: str) -> None:
    row = {**member(1), name: "Ada"}
    del row["first_name"]
    with pytest.raises(SchemaMismatch, match=r"the table has 'first_name'"):
        loader.load([row], schema_contract=contract)


def test_a_key_in_another_case_is_named(loader: Loader) -> None:
    row = {"LMS_USER_ID": uid(1), "first_name": "Ada"}
    with pytest.raises(ObjectInvalid, match="'LMS_USER_ID' is not lms_user_id: letter case and spaces matter"):
        loader.load([row])


@pytest.mark.parametrize("text", ["lms_user_id;first_name\n1;Ada\n", "lms_user_id\tfirst_name\n1\tAda\n"])
def test_another_separator_is_named(loader: Loader, text: str) -> None:
    path = loader.folder / "other.csv"
    path.write_text(text)
    with pytest.raises(ObjectInvalid, match="separated by something other than commas"):
        loader.load(snapshot(path, 1, rows=None))


@pytest.mark.parametrize(
    "names",
    [["_record", "_key", "c0"], ["C1", "c1"], ["ctid ", "is_new"], ["t", "s", "excluded"], ["%s", "{c}", "a.b"]],
)
def test_names_that_the_load_uses_itself_may_be_the_tables(loader: Loader, names: list[str]) -> None:
    loader.create(f"{COLUMNS}, " + ", ".join(f'"{name}" text UNIQUE' for name in names))
    rows: list[Row] = [{**member(n), **dict.fromkeys(names, f"v{n}")} for n in (1, 2)]
    assert counts(loader.load(rows)) == {"read": 2, "inserted": 2}
    swapped: list[Row] = [{**member(n), **dict.fromkeys(names, f"v{3 - n}")} for n in (1, 2)]
    assert counts(loader.load([*swapped, member(3, "x" * 11)])) == {"read": 3, "updated": 2, "rejected": 1}


def test_columns_of_the_file_that_the_table_lacks_may_have_any_name(loader: Loader) -> None:
    odd = {"%": "1", 'q"': "2", "lms user": "3", "SELECT": "4", "ünï": "5"}
    assert loader.load([member(1, **odd)]).ignored_columns == tuple(odd)
    assert counts(loader.load([member(1, **odd)], schema_contract="evolve")) == {"read": 1, "updated": 1}
    assert loader.database.query(f'SELECT "%", "q""" FROM {TABLE}') == [("1", "2")]
