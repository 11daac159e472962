"""A person is erased from a whole production, and no store, Prefect's own database included, holds a value of theirs."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sandbox.people import DEPARTMENT
from sandbox.postgres import DATABASE
from sandbox.production import BLOCKS, Production
from sandbox.stack import ROOT

pytestmark = pytest.mark.timeout(300)
PERSON = "0e0e0e0e-1111-4222-8333-444444444444"
VALUES = (PERSON, "Ermintrude", "Zwingli", "ermintrude.zwingli@example.org")
EXPIRING = {"public.events", "public.event_resources", "public.automation_bucket"}
"""Prefect's API cannot delete its events; the command says so."""
TEXTS = (
    "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
    "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
)


def stored(production: Production) -> Iterator[str]:
    """Everything that the databases and the bucket hold, as text."""
    box = production.box
    for name in ("prefect", DATABASE):
        with box.postgres.connect(user="postgres", dbname=name) as connection, connection.cursor() as cursor:
            cursor.execute(TEXTS)
            for table in {table for (table,) in cursor.fetchall()} - EXPIRING:
                cursor.execute(f"SELECT t::text FROM {table} AS t")
                yield from (f"{name}, {table}: {row}" for (row,) in cursor.fetchall())
    for each in box.aws.s3.list_object_versions(Bucket="lms-snapshots").get("Versions", []):
        wanted = {"Key": each["Key"], "VersionId": each["VersionId"]}
        body = box.aws.s3.get_object(Bucket="lms-snapshots", **wanted)["Body"].read()
        yield f"s3, {each['Key']}: {body.decode()}"


def naming(production: Production) -> list[str]:
    return [text[:200] for text in stored(production) if any(value.lower() in text.lower() for value in VALUES)]


def test_a_person_is_erased_from_a_whole_production(production: Production) -> None:
    box = production.box
    person = {"id": PERSON, "departmentId": DEPARTMENT, "firstName": VALUES[1], "lastName": VALUES[2]}
    box.lms.add_people(12)
    box.lms.add({**person, "username": "ez", "emailAddress": VALUES[3], "dateEdited": "2026-01-01T00:00:00Z"})
    for _ in range(2):  # the second publishes another version of the same
        run = production.start("department-sync", history=True)
        assert production.wait_for(run)["state"]["type"] == "COMPLETED"
    box.lms.edit(PERSON, jobTitle="Abbess")
    shown = production.start("department-sync", dry_run=True, show_values=True)  # which puts values into log and report
    assert production.wait_for(shown)["state"]["type"] == "COMPLETED"
    by_hand = production.start("s3-to-rds", key=f"by-hand/{PERSON.upper()}.csv", dry_run=True)
    assert production.wait_for(by_hand)["state"]["type"] == "FAILED"  # there is no such object
    box.lms.remove(PERSON)
    production.wait_until_idle()
    assert {text.split(",")[0] for text in naming(production)} == {"prefect", DATABASE, "s3"}
    loads = box.query("SELECT count(*) FROM lms_loads WHERE flow_run_id IS NOT NULL")
    environment = {**os.environ, **box.environment(), "PREFECT_API_URL": production.server.url}
    erased = subprocess.run(
        [sys.executable, "-m", "commands.erase", PERSON, "--yes", "--blocks", BLOCKS],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert erased.returncode == 0, erased.stdout + erased.stderr
    assert naming(production) == []
    assert "Prefect's events" in erased.stdout
    assert not any(value in erased.stdout + erased.stderr for value in VALUES[1:])
    production.wait_until_idle()  # the run that S3's event of the new object has started
    assert box.query("SELECT count(*) FROM lms_loads WHERE flow_run_id IS NOT NULL") == loads
    assert naming(production) == []
    night = production.start("department-sync", on_departure="mark")
    assert production.wait_for(night)["state"]["type"] == "COMPLETED"
    assert box.query("SELECT count(*), count(departed_at) FROM department_members") == [(12, 0)]
    box.query("DROP TABLE department_members_history CASCADE")
