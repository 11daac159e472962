"""The guarantees of a load with every option on and off: values, counts, rejects, leavers, once and in order, dry runs."""

import csv
import hmac
import io
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from sandbox.people import DEPARTMENT
from tasks.columns import ColumnNames
from tasks.extract.flatten import flatten_pages
from tasks.load.loaded import Loaded
from tasks.options import OnDeparture, SchemaContract
from tests.support.loader import SCHEMA, TABLE, Loader, counts, uid
from tests.support.snapshots import raw_snapshot, snapshot

KEY = "a key for the matrix"
COLUMNS = """
    lms_user_id uuid PRIMARY KEY, department_id uuid, first_name varchar(20), email_address text UNIQUE, gender integer,
    date_edited timestamptz, custom_fields jsonb, departed_at timestamptz
"""
LEAVING: Sequence[OnDeparture] = get_args(OnDeparture)
CONTRACTS: Sequence[SchemaContract] = ["ignore", "evolve"]
MATRIX = list(product(LEAVING, CONTRACTS, [False, True], [False, True]))


class Nights:
    """Nights of a small department, with one choice of options."""

    def __init__(self, loader: Loader, folder: Path, options: dict[str, Any], hashed: bool) -> None:
        self.loader, self.folder, self.options = loader, folder, options
        self.names = ColumnNames(hashed=frozenset({"email_address", "custom_fields.badge"} if hashed else ()))
        self.night = 0

    def load(self, members: list[dict[str, Any]], **more: Any) -> Loaded:
        self.night += 1
        folder = self.folder / str(self.night)
        folder.mkdir()
        flat = flatten_pages.fn(raw_snapshot(folder, members), self.names, folder / "members.csv")
        source = snapshot(flat.path, self.night, rows=flat.rows)
        self.rows = list(csv.DictReader(io.StringIO(flat.path.read_text(encoding="utf-8"), newline="")))
        return self.loader.load(source, **{**self.options, **more})

    def stored(self) -> dict[str, tuple[Any, ...]]:
        found = self.loader.rows("lms_user_id::text, email_address, custom_fields::text, departed_at IS NOT NULL")
        return {row[0]: row[1:] for row in found}


@pytest.fixture(
    params=MATRIX, ids=lambda chosen: "-".join([*chosen[:2], "history" * chosen[2], "hashed" * chosen[3]]).strip("-")
)
def nights(request: pytest.FixtureRequest, loader: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    for name, value in {
        "REST_API_URL": "https://x",
        "LMS_USERNAME": "u",
        "LMS_PASSWORD": "p",
        "LMS_PRIVATE_KEY": "k",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LMS_HASH_KEY", KEY)
    loader.create(COLUMNS)
    on_departure, contract, history, hashed = request.param
    options = {"on_departure": on_departure, "schema_contract": contract, "history": history, "max_departures": "100%"}
    return Nights(loader, tmp_path, options, hashed)


def member(number: int, name: str = "Ada", **more: Any) -> dict[str, Any]:
    core = {"id": uid(number).upper(), "departmentId": DEPARTMENT, "firstName": name, "gender": 1}
    return {**core, "emailAddress": f"m{number}@example.org", "customFields": {"badge": str(number)}, **more}


def test_the_guarantees_hold_with_every_option_on_and_off(nights: Nights) -> None:
    hashed = bool(nights.names.hashed)

    def address(number: int) -> str:
        plain = f"m{number}@example.org"
        return hmac.new(KEY.encode(), plain.encode(), "sha256").hexdigest() if hashed else plain

    first = [member(n, brandNew="x") for n in range(1, 9)]
    dry = nights.load(first, dry_run=True)
    assert nights.stored() == {}
    loaded = nights.load(first)
    assert counts(loaded) == counts(dry) == {"read": 8, "inserted": 8}
    assert {key: row[0] for key, row in nights.stored().items()} == {uid(n): address(n) for n in range(1, 9)}
    badge = json.loads(nights.stored()[uid(3)][1])["badge"]
    assert badge == (hmac.new(KEY.encode(), b"3", "sha256").hexdigest() if hashed else "3")
    assert ("brand_new" in loaded.added_columns) == (nights.options["schema_contract"] == "evolve")

    versions = nights.loader.rows("ctid, xmin")
    assert counts(nights.load(first)) == {"read": 8, "unchanged": 8}
    assert nights.loader.rows("ctid, xmin") == versions, "what has not changed is not rewritten"

    # one left; two exchange unique addresses; one does not fit; one is edited; one joins with the leaver's address
    second = [
        member(2, emailAddress="m3@example.org"), member(3, emailAddress="m2@example.org"), member(4, gender="x"),
        member(5, "Bea"), *(member(n) for n in (6, 7, 8)), member(9),
    ]  # fmt: skip
    if nights.options["on_departure"] == "delete":
        second.append(member(10, emailAddress="m1@example.org"))
    loaded = nights.load(second, dry_run=True)
    assert counts(nights.load(second)) == counts(loaded)
    stored = nights.stored()
    assert (stored[uid(2)][0], stored[uid(3)][0]) == (address(3), address(2))
    assert loaded.rejected == 1 and "gender" in loaded.rejected_because
    assert (uid(1) in stored, stored.get(uid(1), ("", "", False))[2], loaded.departed) == {
        "keep": (True, False, 0), "mark": (True, True, 1), "delete": (False, False, 1),
    }[nights.options["on_departure"]]  # fmt: skip
    assert (
        loaded.read
        == len(second)
        == sum(getattr(loaded, name) for name in ("inserted", "updated", "unchanged", "duplicates", "rejected"))
    )
    assert nights.load([member(1)], history=nights.options["history"], max_emptied="100%").read == 1

    if nights.options["history"]:
        query = f'SELECT lms_user_id::text FROM "{SCHEMA}".department_members_history_current ORDER BY 1'
        present = nights.loader.database.query(f"SELECT lms_user_id::text FROM {TABLE} ORDER BY 1")
        assert nights.loader.database.query(query) == present
    everything = str(nights.loader.database.query(f"SELECT t::text FROM {TABLE} AS t")) + str(nights.rows)
    assert ("@example.org" in everything) != hashed
