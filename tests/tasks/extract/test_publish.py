"""A department is compared with its own last snapshot, whatever else lies under the prefix: its rows, what is hashed."""

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.aws import BUCKET, SimulatedAws
from sandbox.people import DEPARTMENT
from tasks.columns import ColumnNames
from tasks.errors import ConfigError, SnapshotShrank
from tasks.extract import publish as publish_module
from tasks.extract.hashing import key_id
from tasks.extract.publish import check_hash_keys, key_pattern
from tasks.streams import MEMBERS, Scope
from tests.tasks.test_s3 import KEY, flat, publish

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


HASHED = ColumnNames(hashed=frozenset({"emailAddress", "username", "custom_fields.Größe", "contract.no", "fullName"}))


@pytest.mark.parametrize(
    ("now", "plain"),
    [
        ({"emailAddress", "username", "contract.no", "custom_fields.größe"}, None),
        ({"EMAIL_ADDRESS", "user_name", "contract", "custom_fields"}, None),
        ({"username", "contract.no", "custom_fields.größe"}, "emailAddress"),
        ({"emailAddress", "contract.no", "custom_fields.größe"}, "username"),
        ({"emailAddress", "username", "custom_fields.größe"}, "contract.no"),
        ({"emailAddress", "username", "contract.no", "custom_fields.other"}, "custom_fields.Größe"),
        ({"city"}, "contract.no, custom_fields.Größe, emailAddress, username"),
    ],
)
def test_a_column_that_is_no_longer_hashed_is_refused_unless_it_is_meant(
    aws: SimulatedAws, tmp_path: Path, now: set[str], plain: str | None
) -> None:
    first = replace(flat(tmp_path), hash_key_id="aaaa", names=HASHED)
    publish(first, KEY)
    second = replace(first, names=ColumnNames(hashed=frozenset(now)))
    if plain:
        with pytest.raises(ConfigError, match=f"found {plain} no longer hashed"):
            publish(second, KEY)
        publish(second, KEY, allow_hash_change=True)
    publish(second, KEY)


def test_a_hashed_column_may_be_left_out(aws: SimulatedAws, tmp_path: Path) -> None:
    first = replace(flat(tmp_path), hash_key_id="aaaa", names=HASHED)
    publish(first, KEY)
    left_out = frozenset({"user_name", "custom_fields", "contract"})
    publish(replace(first, names=ColumnNames(excluded=left_out, hashed=frozenset({"email_address"}))), KEY)


def test_an_object_without_the_names_of_hashed_columns_is_compared_by_its_key(
    aws: SimulatedAws, tmp_path: Path
) -> None:
    first = replace(flat(tmp_path), hash_key_id="aaaa", names=HASHED)
    key = publish(first, KEY).object.key
    metadata = aws.s3.head_object(Bucket=BUCKET, Key=key)["Metadata"]
    del metadata["hashed-columns"]
    aws.s3.put_object(Bucket=BUCKET, Key=key, Body=b"", Metadata=metadata)
    publish(replace(first, names=ColumnNames(hashed=frozenset({"city"}))), KEY)


def test_of_several_departments_none_is_published_if_one_has_a_column_that_is_no_longer_hashed(
    aws: SimulatedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_key = "a key of 16 chars"
    monkeypatch.setattr(publish_module, "hash_key", lambda blocks: hash_key)
    first = replace(flat(tmp_path), hash_key_id=key_id(hash_key), names=HASHED)
    publish(first, KEY)
    scopes = (replace(first.scope, id="5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d12"), first.scope)
    check_hash_keys.fn(scopes, HASHED, BUCKET, KEY)
    with pytest.raises(ConfigError, match="username no longer hashed"):
        check_hash_keys.fn(scopes, replace(HASHED, hashed=HASHED.hashed - {"username"}), BUCKET, KEY)


def test_names_that_would_not_fit_into_an_objects_metadata_are_refused(aws: SimulatedAws, tmp_path: Path) -> None:
    most = {"custom_fields." + "é" * 200, "city" + "x" * (1500 - 1200 - 14 - 1 - 4)}
    first = replace(flat(tmp_path), hash_key_id="a" * 16, names=ColumnNames(hashed=frozenset(most)))
    publish(first, KEY)
    with pytest.raises(ConfigError, match="too many columns to hash"):
        ColumnNames(hashed=frozenset(most | {"a"}))
