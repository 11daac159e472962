"""The volume guard compares a department with its own last snapshot, whatever else lies under the prefix."""

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.aws import BUCKET, SimulatedAws
from sandbox.people import DEPARTMENT
from tasks.errors import SnapshotShrank
from tasks.extract.publish import key_pattern
from tasks.streams import MEMBERS, Scope
from tests.tasks.test_s3 import flat, publish

OTHER = "00000000-0000-4000-8000-00000000000b"
TEMPLATES = [
    "members/{snapshot_at:%Y/%m/%d}/{department_id}.csv",
    "members/{snapshot_at:%Y-%m-%d}.csv",
    "{snapshot_at:%Y}/{department_id}/{snapshot_at:%m%d}.csv",
    "members/{department_id}/{snapshot_at}",
    "a.rejected/{snapshot_at:%j}-{department_id}.csv",
    "{{braces}}/{department_id!s:>40}/{snapshot_at:%d}.csv",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_another_departments_newer_snapshot_hides_nothing(aws: SimulatedAws, tmp_path: Path, template: str) -> None:
    publish(flat(tmp_path, 10, day=1), template)
    publish(replace(flat(tmp_path, 2, day=2), scope=Scope(MEMBERS, OTHER)), template)
    with pytest.raises(SnapshotShrank, match=r"last published \(10\), found 2"):
        publish(flat(tmp_path, 2, day=3), template)
    assert publish(flat(tmp_path, 6, day=4), template).previous_rows == 10


FOREIGN = ["README.txt", "2026/03/02/README.txt", "2026/03/02/{department}.csv", "2026/03/02/{department}.csv.rejected/r.csv",
           "2026/03/02/", "zzz {department}.csv"]  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("template", TEMPLATES[:2])
def test_a_foreign_file_hides_nothing(aws: SimulatedAws, tmp_path: Path, template: str, name: str) -> None:
    publish(flat(tmp_path, 10, day=1), template)
    key = "members/" + name.format(department=DEPARTMENT)
    aws.s3.put_object(Bucket=BUCKET, Key=key, Body=b"x", Metadata={"rows": "1"})
    with pytest.raises(SnapshotShrank, match=r"last published \(10\)"):
        publish(flat(tmp_path, 2, day=3), template)


def test_the_newest_of_many_is_the_baseline(aws: SimulatedAws, tmp_path: Path) -> None:
    template = TEMPLATES[0]
    for day, rows in enumerate((30, 20, 12), start=1):
        publish(flat(tmp_path, rows, day=day), template)
        for other in range(3):
            publish(replace(flat(tmp_path, 1, day=day), scope=Scope(MEMBERS, f"{OTHER[:-1]}{other}")), template)
    assert publish(flat(tmp_path, 6, day=9), template).previous_rows == 12


def test_an_unknown_baseline_is_reported(aws: SimulatedAws, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    aws.s3.put_object(Bucket=BUCKET, Key="members/2026.csv", Body=b"x")
    with caplog.at_level("INFO"):
        assert publish(flat(tmp_path, 1), TEMPLATES[1]).previous_rows is None
    assert "found no earlier snapshot to compare with among 1 object(s)" in caplog.text


def test_a_key_pattern_matches_the_departments_own_keys_alone() -> None:
    prefix, could_be = key_pattern("m.{snapshot_at:%d}/{department_id}.csv", Scope(MEMBERS, "a+b"))
    assert prefix == "m."
    assert could_be.fullmatch("m.01/a+b.csv")
    assert not any(map(could_be.fullmatch, ["m.01/aab.csv", "mx01/a+b.csv", "m.01/a+b.csv.old"]))
