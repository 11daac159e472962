"""A stream of the tests' own goes all the way, by its `Stream` value alone: no line of the product names it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sandbox.aws import BUCKET, SimulatedAws
from tasks.columns import ColumnNames
from tasks.errors import IncompleteSnapshot, ObjectInvalid, SchemaMismatch, TooManyDepartures
from tasks.extract.fetch import authenticate, fetch_pages
from tasks.extract.flatten import flatten_pages
from tasks.extract.publish import Published, write_csv
from tasks.extract.report import extract_report
from tasks.load.loaded import Loaded
from tasks.load.report import load_report
from tasks.load.schema import inspect_schema
from tasks.load.upsert import upsert_snapshot
from tasks.options import LoadOptions
from tasks.s3 import read_object
from tasks.streams import MEMBERS, STREAMS, Scope, Stream
from tests.conftest import Database

GROUP = "0f6f1c0e-9d0c-4e53-8a0c-1d7c5f0e9b22"
DDL = """
CREATE TABLE {table} (
    lms_badge_id uuid PRIMARY KEY, group_id uuid, title text, points numeric(5,1), changed_at timestamptz,
    departed_at timestamptz
)
"""
OLD_LEDGER = """
CREATE TABLE lms_loads (
    load_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, loaded_at timestamptz NOT NULL DEFAULT now(),
    table_name text NOT NULL, bucket text NOT NULL, object_key text NOT NULL, version_id text, etag text NOT NULL,
    sha256 text NOT NULL, department_id text, snapshot_at timestamptz, rows_read bigint NOT NULL,
    inserted bigint NOT NULL, updated bigint NOT NULL, unchanged bigint NOT NULL, duplicates bigint NOT NULL,
    rejected bigint NOT NULL, departed bigint NOT NULL, returned bigint NOT NULL, rejects_key text, flow_run_id text
)
"""


def badge(number: int, **more: Any) -> dict[str, Any]:
    return {
        "badgeId": f"00000000-0000-4000-8000-{number:012d}".upper(),
        "groupId": GROUP.upper(),
        "badgeTitle": f"badge {number}",
        "points": 1.5,
        "changedAt": "2026-01-01T00:00:00Z",
        **more,
    }


class BadgeLms(ThreadingHTTPServer):
    """Signs everybody in, and lists the badges of one group under an envelope of its own."""

    def __init__(self) -> None:
        self.badges: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: BadgeLms

    def answer(self, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer("a-token")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        assert (url.path, query["kind"]) == (f"/groups/{GROUP}/badges", f"of {GROUP}")
        limit, page = int(query["_limit"]), int(query["_offset"])
        badges = self.server.badges
        part = badges[page * limit : (page + 1) * limit]
        self.answer({"totalItems": len(badges), "returnedItems": len(part), "limit": limit, "badges": part})

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Badges:
    """The stream, its LMS, and snapshots of it loaded one after another."""

    def __init__(self, folder: Path, server: BadgeLms, database: Database) -> None:
        self.folder, self.server, self.database = folder, server, database
        (folder / "badges.sql").write_text(DDL)
        self.stream = Stream(
            name="group-badges", item_noun="badges", scope_noun="group", path="/groups/{scope_id}/badges", list_name="badges",
            query={"kind": "of {scope_id}"}, keys=("badgeId", "groupId", "badgeTitle", "points", "changedAt"),
            guid_keys=frozenset({"badgeId", "groupId"}), id_key="badgeId", names={"badgeId": "lms_badge_id", "badgeTitle": "title"},
            scope_key="groupId", key_column="lms_badge_id", scope_column="group_id", edited_column="changed_at",
            scope_setting="GROUP_ID", path_setting="S3_BADGES_PATH", table_setting="BADGES_TABLE",
            ddl=folder / "badges.sql",
        )  # fmt: skip
        self.scope = Scope(self.stream, GROUP)

    def publish(self, *badges: dict[str, Any]) -> Published:
        self.server.badges = list(badges)
        with authenticate.fn(None) as session:
            raw = fetch_pages.fn(session, self.scope, self.folder)
        flat = flatten_pages.fn(raw, ColumnNames(stream=self.stream), self.folder / "badges.csv")
        published = write_csv.fn(flat, BUCKET, "badges/{group_id}.csv")
        page = extract_report(raw, flat, published, dry_run=False).markdown()
        assert page.startswith(f"# {len(badges)} badges: published")
        return published

    def load(self, published: Published, **options: Any) -> Loaded:
        snapshot = read_object.fn(published.object, self.folder / "read.csv")
        assert snapshot.scope == self.scope
        table = inspect_schema.fn("public", self.stream.table, stream=self.stream, create_table=True)
        loaded = upsert_snapshot.fn(snapshot, table, LoadOptions(**options))
        assert load_report(snapshot, table, loaded, dry_run=False).markdown().startswith(f"# {loaded.read} rows")
        return loaded

    def rows(self) -> list[tuple[Any, ...]]:
        query = (
            "SELECT right(lms_badge_id::text, 2), title, points::text, departed_at IS NULL FROM group_badges ORDER BY 1"
        )
        return self.database.query(query)


@pytest.fixture
def badges(
    aws: SimulatedAws, one_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Badges]:
    one_database.query("DROP TABLE IF EXISTS group_badges, lms_loads")
    with BadgeLms() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        account = {
            "REST_API_URL": f"http://127.0.0.1:{server.server_port}", "LMS_USERNAME": "u", "LMS_PASSWORD": "p",
            "LMS_PRIVATE_KEY": "k", "LMS_PAGE_SIZE": "2",
        }  # fmt: skip
        for name, value in {**one_database.environment(), **account}.items():
            monkeypatch.setenv(name, value)
        made = Badges(tmp_path, server, one_database)
        monkeypatch.setitem(STREAMS, made.stream.name, made.stream)
        yield made
        server.shutdown()
    one_database.query("DROP TABLE IF EXISTS group_badges, lms_loads")


def counts(loaded: Loaded) -> dict[str, int]:
    return {name: number for name, number in loaded.counts().items() if number}


def test_it_is_read_published_loaded_and_recorded(badges: Badges, aws: SimulatedAws) -> None:
    published = badges.publish(*(badge(n) for n in range(1, 6)))
    metadata = aws.s3.head_object(Bucket=BUCKET, Key=f"badges/{GROUP}.csv")["Metadata"]
    assert (metadata["stream"], metadata["group-id"], metadata["rows"]) == ("group-badges", GROUP, "5")
    assert "department-id" not in metadata
    assert counts(badges.load(published)) == {"read": 5, "inserted": 5}
    assert badges.rows()[0] == ("01", "badge 1", "1.5", True)
    ledger = "SELECT table_name, stream, scope_id, department_id FROM lms_loads"
    assert badges.database.query(ledger) == [("group_badges", "group-badges", GROUP, None)]
    assert (badges.load(published).skipped or "").startswith("already loaded")


def test_leavers_rejected_rows_and_a_dry_run(badges: Badges, aws: SimulatedAws) -> None:
    badges.load(badges.publish(*(badge(n) for n in range(1, 11))))
    changed = [badge(1, badgeTitle="new"), badge(2, points="x"), *(badge(n) for n in range(3, 10))]
    second = badges.publish(*changed)
    expected = {"read": 9, "updated": 1, "unchanged": 7, "rejected": 1, "departed": 1}
    before = badges.rows()
    dry = badges.load(second, on_departure="mark", dry_run=True)
    assert (counts(dry), badges.rows()) == (expected, before)
    loaded = badges.load(second, on_departure="mark")
    assert counts(loaded) == expected
    assert [row[3] for row in badges.rows()] == [True] * 9 + [False]
    assert loaded.rejects is not None
    rejected = aws.s3.get_object(Bucket=BUCKET, Key=loaded.rejects.key)["Body"].read().decode()
    assert "lms_badge_id" in rejected.splitlines()[0]
    with pytest.raises(TooManyDepartures, match=rf"group {GROUP}: expected at most 20% of 10 badges"):
        badges.load(badges.publish(badge(1), badge(2), *(badge(n) for n in range(20, 27))), on_departure="delete")


def test_its_own_words_are_in_its_errors(badges: Badges) -> None:
    with pytest.raises(IncompleteSnapshot, match="expected only badges of this group, found 1 of other groups"):
        badges.publish(badge(1), badge(2, groupId="00000000-0000-4000-8000-00000000000f"))
    published = badges.publish(badge(1))
    badges.database.query("CREATE TABLE group_badges (title text)")
    with pytest.raises(SchemaMismatch, match="has no column lms_badge_id, on which.*BADGES_TABLE"):
        badges.load(published)


def test_an_object_of_a_stream_that_is_not_known_is_refused(badges: Badges, monkeypatch: pytest.MonkeyPatch) -> None:
    published = badges.publish(badge(1))
    monkeypatch.delitem(STREAMS, "group-badges")
    monkeypatch.setitem(STREAMS, "other", MEMBERS)
    with pytest.raises(ObjectInvalid, match="expected format 1, kind full, stream department-members"):
        read_object.fn(published.object, badges.folder / "read.csv")


def test_a_ledger_of_a_version_before_gets_the_columns_it_needs(badges: Badges) -> None:
    badges.database.query(OLD_LEDGER)
    assert badges.load(badges.publish(badge(1))).inserted == 1
    assert badges.database.query("SELECT stream FROM lms_loads") == [("group-badges",)]


def test_or_says_which_where_the_loader_may_not_add_them(badges: Badges) -> None:
    owner = Database({**badges.database.variables, "BUSINESS_TRACKING_USER": "postgres"}, None)
    owner.query(f"{OLD_LEDGER}; GRANT SELECT, INSERT ON lms_loads TO PUBLIC")
    try:
        with pytest.raises(SchemaMismatch, match="ADD COLUMN stream text, ADD COLUMN scope_id text;"):
            badges.load(badges.publish(badge(1)))
    finally:
        owner.query("DROP TABLE lms_loads")


def test_a_column_of_the_default_table_that_evolve_adds_has_its_type_there(badges: Badges) -> None:
    badges.database.query("CREATE TABLE group_badges (lms_badge_id uuid PRIMARY KEY, group_id uuid)")
    loaded = badges.load(badges.publish(badge(1, shoeSize="43")), schema_contract="evolve")
    assert loaded.added_columns == ("title", "points", "changed_at", "shoe_size")
    types = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'group_badges'::regclass AND attnum > 2"
    assert [kind for (kind,) in badges.database.query(types)] == [
        "text",
        "numeric(5,1)",
        "timestamp with time zone",
        "text",
    ]


def test_a_member_object_without_a_stream_is_a_members_object(badges: Badges, aws: SimulatedAws) -> None:
    published = badges.publish(badge(1))
    head = aws.s3.head_object(Bucket=BUCKET, Key=published.object.key)
    metadata = {name: value for name, value in head["Metadata"].items() if name not in ("stream", "group-id")}
    source = {"Bucket": BUCKET, "Key": published.object.key}
    aws.s3.copy_object(
        CopySource=source, **source, Metadata={**metadata, "department-id": GROUP}, MetadataDirective="REPLACE"
    )
    found = read_object.fn(type(published.object)(BUCKET, published.object.key), badges.folder / "read.csv")
    assert found.scope == Scope(MEMBERS, GROUP)
