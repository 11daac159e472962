"""The flows in one process: their reports, their artifacts, their alerts."""

from pathlib import Path

import pytest

from flows.department_sync import department_sync
from flows.lms_to_s3 import lms_to_s3
from flows.s3_to_rds import s3_to_rds
from sandbox import faults
from sandbox.people import person
from sandbox.stack import Sandbox
from tasks.errors import (
    ConfigError,
    IncompleteSnapshot,
)
from tests.support.whole_stack import artifacts

KEY = "department_members/5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11.csv"


def test_both_flows_in_a_row_tell_what_they_did(in_process: Sandbox) -> None:
    in_process.lms.add_people(120)
    extracted = lms_to_s3()
    assert (extracted["rows"], extracted["pages"], extracted["sign_ins"], extracted["retries"]) == (120, 1, 1, 0)
    assert list(in_process.aws.objects()) == [KEY]
    loaded = s3_to_rds(create_table=True)
    assert (loaded["outcome"], loaded["read"], loaded["inserted"]) == ("loaded", 120, 120)
    assert in_process.query("SELECT count(*) FROM department_members") == [(120,)]
    assert in_process.aws.alerts() == []


def test_the_artifacts_tell_how_it_went(in_process: Sandbox) -> None:
    in_process.lms.add_people(7)
    in_process.lms.add({**person(900), "gender": "unknown|known", "shoeSize": 43})
    department_sync(create_table=True)
    [extract, load] = [artifacts(key)[0].data for key in ("lms-to-s3", "s3-to-rds")]
    assert extract.startswith("# 8 members: published")
    assert "1 pages agree on 8 members" in extract
    assert "- **Keys this version does not know:** `shoeSize`" in extract
    assert "| 8 | 7 | 0 | 0 | 0 | 1 | 0 | 0 |" in load
    assert "gender: expected an integer" in load
    assert ".rejected/" in load
    assert "unknown|known" not in load


def test_retries_are_counted_in_the_report(in_process: Sandbox) -> None:
    in_process.lms.add_people(7)
    in_process.lms.inject(faults.status(503, times=2), faults.steal_session(after=2))
    report = lms_to_s3()
    assert report["retries"] >= 2


def test_an_event_names_bucket_key_and_version(in_process: Sandbox) -> None:
    in_process.lms.add_people(3)
    lms_to_s3()
    [version] = in_process.aws.s3.list_object_versions(Bucket="lms-snapshots", Prefix=KEY)["Versions"]
    in_process.lms.add_people(1)
    lms_to_s3()
    report = s3_to_rds(bucket="lms-snapshots", key=KEY, version_id=version["VersionId"], create_table=True)
    assert report["read"] == 3


def test_a_dry_run_of_both_writes_nothing_and_counts_what_a_real_run_then_does(in_process: Sandbox) -> None:
    in_process.lms.add_people(10)
    department_sync(create_table=True)
    objects, rows = in_process.aws.objects(), in_process.query("SELECT xmin, * FROM department_members ORDER BY 3")
    in_process.lms.edit(next(iter(in_process.lms.members)), jobTitle="Promoted")
    in_process.lms.add_people(2)
    dry = department_sync(dry_run=True)["s3_to_rds"]
    assert in_process.aws.objects() == objects
    assert in_process.query("SELECT xmin, * FROM department_members ORDER BY 3") == rows
    assert in_process.query("SELECT count(*) FROM lms_loads") == [(1,)]
    real = department_sync()["s3_to_rds"]
    names = ("read", "inserted", "updated", "unchanged", "duplicates", "rejected")
    assert [dry[name] for name in names] == [real[name] for name in names] == [12, 2, 1, 9, 0, 0]
    assert "job_title, date_edited" in dry["differences"]


def test_no_dry_run_writes_to_s3_table_or_ledger(in_process: Sandbox) -> None:
    in_process.lms.add_people(10)
    lms_to_s3()
    in_process.lms.add({**person(900), "gender": "unknown"})
    objects = in_process.aws.objects()
    assert lms_to_s3(dry_run=True)["rows"] == 11
    assert s3_to_rds(create_table=True, dry_run=True)["inserted"] == 10
    both = department_sync(create_table=True, schema_contract="evolve", dry_run=True)
    assert (both["s3_to_rds"]["inserted"], both["s3_to_rds"]["rejected"]) == (10, 1)
    assert in_process.aws.objects() == objects
    assert in_process.query("SELECT to_regclass('department_members'), to_regclass('lms_loads')") == [(None, None)]


def test_rejected_rows_lie_beside_the_object_and_load_when_corrected(in_process: Sandbox) -> None:
    in_process.lms.add_people(20)
    in_process.lms.add({**person(900), "gender": "unknown"})
    report = department_sync(create_table=True)["s3_to_rds"]
    assert (report["inserted"], report["rejected"]) == (20, 1)
    [key] = [key for key in in_process.aws.objects() if ".rejected/" in key]
    assert report["rejects"] == f"s3://lms-snapshots/{key}"
    assert report["rejected_because"] == f"line {line_of(in_process, b'unknown')}, gender: expected an integer"
    body = in_process.aws.objects()[key].replace(b'"unknown"', b"")
    in_process.aws.s3.put_object(Bucket="lms-snapshots", Key="corrected.csv", Body=body)
    assert s3_to_rds(key="corrected.csv")["inserted"] == 1


def line_of(box: Sandbox, text: bytes) -> int:
    body = box.aws.objects()[KEY]
    return body[: body.index(text)].count(b"\n") + 1


def test_the_run_folder_is_gone_after_success_and_failure(
    in_process: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    in_process.lms.add_people(3)
    lms_to_s3()
    in_process.lms.inject(faults.without("users"))
    with pytest.raises(IncompleteSnapshot):
        lms_to_s3()
    assert list(tmp_path.glob("department-members-*")) == []


def test_the_saved_blocks_are_used_when_they_are_named(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from commands.save_blocks import save_all

    in_process.lms.add_people(3)
    save_all("flows")
    for name in (
        "LMS_PASSWORD",
        "LMS_PRIVATE_KEY",
        "BUSINESS_TRACKING_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "S3_BUCKET_NAME",
    ):
        monkeypatch.delenv(name)
    report = department_sync(create_table=True, blocks="flows")
    assert report["s3_to_rds"]["inserted"] == 3
    with pytest.raises(ConfigError, match="no block lms-account/elsewhere is saved"):
        department_sync(blocks="elsewhere")


def test_what_persists_results_by_default_does_not_persist_the_session(
    in_process: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings

    in_process.lms.add_people(3)
    with temporary_settings({PREFECT_RESULTS_PERSIST_BY_DEFAULT: True, PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        lms_to_s3()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
