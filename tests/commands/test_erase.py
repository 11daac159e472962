"""`python -m commands.erase`: one person is taken out of every store, and nobody else is touched."""

import csv
import hashlib
import io
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from commands import erase
from commands.erasure.objects import copy_without
from flows.department_sync import department_sync
from flows.s3_to_rds import s3_to_rds
from sandbox.aws import BUCKET, SimulatedAws
from sandbox.lms import SimulatedLms
from sandbox.people import DEPARTMENT
from tests.conftest import Database
from tests.deploy.calls import recorded

pytestmark = pytest.mark.usefixtures("prefect_api")
KEY = f"department_members/{DEPARTMENT}.csv"
ADA, BEA, CID = (f"00000000-0000-4000-8000-00000000000{n}" for n in "abc")
WORDS = (ADA, "ada.lovelace", "Lovelace")


def member(member_id: str, name: str, **more: Any) -> dict[str, Any]:
    core = {"id": member_id, "departmentId": DEPARTMENT, "firstName": name, "lastName": "Byron"}
    user = {"username": f"{name.lower()}.x", "emailAddress": f"{name.lower()}@example.org"}
    return {**core, **user, "dateEdited": "2026-01-01T00:00:00Z", **more}


class World:
    """A pipeline that has run, and what lies where."""

    def __init__(
        self, lms: SimulatedLms, aws: SimulatedAws, database: Database, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.lms, self.aws, self.database, self.capsys = lms, aws, database, capsys

    def sync(self, **options: Any) -> None:
        department_sync(
            **{"create_table": True, "history": True, "on_departure": "mark", "max_departures": "100%", **options}
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = erase.main([ADA, *arguments])
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err

    def objects(self) -> dict[tuple[str, str], bytes]:
        versions = self.aws.s3.list_object_versions(Bucket=BUCKET).get("Versions", [])
        return {
            (each["Key"], each["VersionId"]): self.aws.s3.get_object(
                Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"]
            )["Body"].read()
            for each in versions
        }

    def everything(self) -> str:
        tables = self.database.query(
            "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        rows = [self.database.query(f"SELECT t::text FROM {table} AS t") for (table,) in tables]
        return "\n".join([str(rows), *(body.decode() for body in self.objects().values())])


@pytest.fixture
def world(
    lms: SimulatedLms, aws: SimulatedAws, one_database: Database, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:  # fmt: skip
    monkeypatch.setenv("DEPARTMENT_ID", DEPARTMENT)
    monkeypatch.setenv("S3_DEPARTMENT_MEMBERS_PATH", "department_members/{department_id}.csv")
    for name, value in one_database.environment().items():
        monkeypatch.setenv(name, value)
    one_database.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    made = World(lms, aws, one_database, capsys)
    lms.add(member(ADA, "Ada", lastName="Lovelace", username="ada.lovelace", emailAddress="ada.lovelace@example.org"))
    lms.add(member(BEA, "Bea", supervisorId=ADA))
    lms.add(member(CID, "Cid", notes='plays, "chess"\nwell'))
    made.sync()
    lms.edit(ADA, jobTitle="Countess")
    made.sync()
    yield made
    logging.disable(logging.NOTSET)  # which the command line sets for its process


def test_it_refuses_while_the_lms_still_lists_the_person(world: World) -> None:
    before = world.everything()
    code, out, err = world.run("--yes")
    assert code == 1 and "the LMS still lists this person" in err and out == ""
    assert world.everything() == before


def test_without_yes_it_only_shows(world: World) -> None:
    world.lms.remove(ADA)
    before = world.everything()
    code, out, _ = world.run()
    assert code == 0 and "Nothing was changed" in out
    assert re.search(r'erase  "public"."department_members": 1 rows of the person', out)
    assert re.search(r'erase  "public"."department_members_history": 2 rows of the person', out)
    assert "1 rows of others that refer to the person" in out
    assert "1 current object" in out and "1 older versions" in out
    assert world.everything() == before
    assert not any(word in out for word in WORDS[1:])


def test_every_store_forgets_the_person_and_nobody_else(world: World) -> None:
    world.lms.remove(ADA)
    before = {row[0]: row[1:] for row in world.database.query("SELECT lms_user_id::text, * FROM department_members")}
    world.aws.s3.put_object(
        Bucket=BUCKET, Key=f"{KEY}.rejected/run.csv",
        Body=b'"rejected_line","rejected_column","rejected_reason","lms_user_id","email_address"\n'
        b'2,"lms_user_id","x","not-a-guid","Ada.Lovelace@example.org"\n3,"gender","x","' + BEA.encode() + b'","b@x.org"\n',
    )  # fmt: skip
    world.aws.s3.put_object(
        Bucket=BUCKET,
        Key="department_members/corrected.csv",
        Body=f"lms_user_id,first_name\n{ADA.upper()},Ada\n".encode(),
    )
    code, out, _ = world.run("--yes")
    assert code == 0, out
    assert "Not reached" in out
    everything = world.everything()
    assert not any(word.lower() in everything.lower() for word in WORDS)
    after = {row[0]: row[1:] for row in world.database.query("SELECT lms_user_id::text, * FROM department_members")}
    assert after[CID] == before[CID]
    assert set(after) == {BEA, CID}
    assert world.database.query(f"SELECT supervisor_id FROM department_members WHERE lms_user_id = '{BEA}'") == [
        (None,)
    ]
    [snapshot] = [body for (key, _), body in world.objects().items() if key == KEY]
    rows = list(csv.DictReader(io.StringIO(snapshot.decode(), newline="")))
    assert [(row["lms_user_id"], row["notes"]) for row in rows] == [(BEA, ""), (CID, 'plays, "chess"\nwell')]
    assert b'"b@x.org"' in next(body for (key, _), body in world.objects().items() if ".rejected/" in key)


def test_the_new_object_is_a_snapshot_that_is_loaded_already_and_nothing_is_found_again(world: World) -> None:
    world.lms.remove(ADA)
    before = world.aws.s3.head_object(Bucket=BUCKET, Key=KEY)
    assert world.run("--yes")[0] == 0
    found = world.aws.s3.get_object(Bucket=BUCKET, Key=KEY)
    digest = hashlib.sha256(found["Body"].read()).hexdigest()
    assert found["Metadata"] == {**before["Metadata"], "rows": "2", "sha256": digest}
    assert found["ContentType"] == before["ContentType"]
    loads = world.database.query("SELECT count(*) FROM lms_loads")
    report = s3_to_rds(key=KEY)
    assert report["outcome"].startswith("skipped: already loaded")
    assert world.database.query("SELECT count(*) FROM lms_loads") == loads
    stores = world.everything()
    code, out, _ = world.run("--yes")
    assert code == 0 and "every store: 0 mentions" in out
    assert world.everything() == stores
    world.sync()  # and the next night's snapshot goes on from it
    assert world.database.query("SELECT count(*), count(departed_at) FROM department_members") == [(2, 0)]


def test_an_object_whose_tags_may_not_be_read_is_rewritten_and_named(world: World) -> None:
    world.lms.remove(ADA)
    with recorded(lambda call: call.operation == "GetObjectTagging"):
        code, out, _ = world.run("--yes")
    assert code == 0, out
    lacking = "lack s3:GetObjectTagging or s3:PutObjectTagging: set them again, if there were any, on s3://"
    assert f"{lacking}{BUCKET}/{KEY}\n" in out
    assert not any(word.lower() in world.everything().lower() for word in WORDS)


@pytest.mark.parametrize("step", ["commands.erase.delete", "commands.erase.write_anew", "commands.erase.erase_runs"])
def test_interrupted_anywhere_it_can_be_run_again(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    world.lms.remove(ADA)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(step, killed)
        world.run("--yes")
    assert world.run("--yes")[0] == 0
    assert not any(word.lower() in world.everything().lower() for word in WORDS)


def test_a_mention_in_the_rows_of_others_is_named_and_left(world: World) -> None:
    world.lms.edit(CID, notes=f"see {ADA}")
    world.lms.remove(ADA)
    world.sync()
    code, out, _ = world.run("--yes")
    assert code == 1
    assert out.count("LEFT") >= 2
    assert f"see {ADA}" in world.everything()


def test_reports_and_runs_that_name_the_person_go(world: World) -> None:
    @flow(name="names-somebody")
    def names_somebody() -> None:
        create_markdown_artifact(f"first differences: {ADA}: new", key="names-somebody")

    names_somebody()
    world.lms.remove(ADA)
    assert "Prefect: 1 reports" in world.run()[1]
    assert world.run("--yes")[0] == 0
    assert "Prefect" not in world.run()[1].partition("Not reached")[0]


@pytest.mark.parametrize("person", ["ada", "", "5b0c9f5e"])
def test_what_is_no_guid_is_a_wrong_argument(person: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        erase.main([person])
    assert stopped.value.code == 2
    assert "must be a GUID" in capsys.readouterr().err


def test_rejected_rows_of_others_who_refer_to_the_person_stay(world: World) -> None:
    world.lms.remove(ADA)
    head = '"rejected_line","rejected_column","rejected_reason","lms_user_id","supervisor_id","email_address"\n'
    rows = f'2,"gender","x","{BEA}","{ADA}","bea@example.org"\n3,"gender","x","{ADA}",,"a"\n'
    key = f"{KEY}.rejected/other.csv"
    world.aws.s3.put_object(Bucket=BUCKET, Key=key, Body=(head + rows).encode())
    assert world.run("--yes")[0] == 0
    [body] = [body for (each, _), body in world.objects().items() if each == key]
    assert body.decode() == head + f'"2","gender","x","{BEA}",,"bea@example.org"\n'


@pytest.mark.parametrize("body", [b"a,b\n1,%s,3\n", b'lms_user_id\n"%s"x\n'])
def test_an_object_that_is_no_strict_csv_is_left_and_named(world: World, body: bytes) -> None:
    world.lms.remove(ADA)
    world.aws.s3.put_object(Bucket=BUCKET, Key="department_members/odd.csv", Body=body % ADA.encode())
    code, out, _ = world.run("--yes")
    assert code == 1 and "LEFT" in out and "department_members/odd.csv: 1 object that is not strict CSV" in out
    assert [each for (key, _), each in world.objects().items() if key.endswith("odd.csv")] == [body % ADA.encode()]


def test_a_corrected_file_that_nothing_has_loaded_yet_is_still_to_be_loaded(world: World) -> None:
    world.lms.remove(ADA)
    key = "department_members/corrected.csv"
    rows = f"lms_user_id,first_name,department_id\n{BEA},Beatrix,{DEPARTMENT}\n{ADA},Ada,{DEPARTMENT}\n"
    world.aws.s3.put_object(Bucket=BUCKET, Key=key, Body=rows.encode())
    assert world.run("--yes")[0] == 0
    assert s3_to_rds(key=key)["outcome"] == "loaded"
    assert world.database.query(f"SELECT first_name FROM department_members WHERE lms_user_id = '{BEA}'") == [
        ("Beatrix",)
    ]


def test_an_object_written_meanwhile_is_not_overwritten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.lms.remove(ADA)
    real = copy_without

    def raced(*arguments: Any, **more: Any) -> tuple[int, int]:
        world.aws.s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"newer")
        return real(*arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr("commands.erasure.objects.copy_without", raced)
        code, _, err = world.run("--yes")
    assert code == 1 and "was written anew while this command ran" in err
    assert world.aws.s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"newer"


@pytest.mark.parametrize("body", [b"\x1f\x8b\x08 not searched", "lms_user_id\n".encode("utf-16")])
def test_an_object_that_is_no_text_is_named_as_not_searched(world: World, body: bytes) -> None:
    world.lms.remove(ADA)
    world.aws.s3.put_object(Bucket=BUCKET, Key="department_members/odd.csv", Body=body)
    code, out, _ = world.run("--yes")
    assert code == 1 and "1 versions that are no text and were not searched: department_members/odd.csv" in out
