"""Whatever stands in an object's metadata: what an extract writes, a plain file, or a clear refusal."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.errors import ObjectInvalid
from tasks.s3 import S3Object, Snapshot, verified

DEPARTMENT = "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11"
SHA256 = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"  # of b"a\n"
WRITTEN = {
    "department-id": DEPARTMENT,
    "snapshot-at": "2026-03-01T02:00:00.123456+00:00",
    "rows": "3",
    "sha256": SHA256,
    "flow-run-id": "",
    "kind": "full",
    "format": "1",
}
OURS_ALONE = ["department-id", "snapshot-at"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "members.csv").write_bytes(b"a\n")
    return tmp_path / "members.csv"


def read(path: Path, metadata: dict[str, str], version: str | None = None) -> Snapshot:
    response = {"ETag": '"e"', "Metadata": metadata, "VersionId": version}
    return verified(S3Object("bucket", "members.csv"), path, response)


def refusal(path: Path, metadata: dict[str, str]) -> str:
    with pytest.raises(ObjectInvalid) as caught:
        read(path, metadata)
    return str(caught.value)


def test_what_an_extract_writes_is_taken(path: Path) -> None:
    found = read(path, {**WRITTEN, "uploaded-by": "a tool\n"}, version="v1")
    at = datetime(2026, 3, 1, 2, 0, 0, 123456, tzinfo=UTC)
    assert (found.rows, found.scope and found.scope.id, found.snapshot_at) == (3, DEPARTMENT, at)
    assert (found.object.version_id, found.is_plain) == ("v1", False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rows", value) for value in ["-5", "1_000", "１２", "1e9", " 5 ", "9" * 5000, "", "+5", "5.0", "0x10", "007", "5\n", "٣", "²"]),
        *(("snapshot-at", value) for value in ["2026-01-01T00:00:00", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"]),
        *(("snapshot-at", value) for value in ["2026-01-01", "", "yesterday", "1767225600", "2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z"]),
        *(("snapshot-at", value) for value in ["2026-01-01T00:00:00+99:00", "2026-W01-1T00:00:00Z", "20260101T000000Z", "infinity"]),
        *(("snapshot-at", value) for value in ["２０２６-01-01T00:00:00Z", "2026-01-01\n00:00:00Z", "2026-01-01T00:00:00Z\n", "now"]),
        *(("snapshot-at", value) for value in ["0000-01-01T00:00:00Z", "2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00:00 Z"]),
        *(("department-id", value) for value in ["", "42", "*", f"{{{DEPARTMENT}}}", DEPARTMENT.replace("-", ""), DEPARTMENT + "\n"]),
        *(("department-id", value) for value in ["a\r\nFrom: you", "\x1b[31mred", "\u202egnp", DEPARTMENT[:-1] + "\u0131", "x" * 5000]),
        *(("sha256", value) for value in ["", SHA256[:-1], SHA256 + "0", "g" * 64, "\n" * 64, SHA256[:-1] + "７", f" {SHA256}"]),
        *(("format", value) for value in ["2", "", "1.0", " 1", "１", "01", "csv\n", "1" * 5000]),
        *(("kind", value) for value in ["increment", "", "Full", "full ", "full\n", "\x00"]),
        *(("stream", value) for value in ["course-sessions", "", "department-members\n", "x" * 5000]),
    ],
)  # fmt: skip
def test_any_other_value_is_refused_by_name_and_shown_on_one_line(path: Path, name: str, value: str) -> None:
    says = refusal(path, {**WRITTEN, name: value})
    assert says.startswith("s3://bucket/members.csv: ")
    assert f"{name} " in says
    assert says.isprintable()
    assert len(says) < 600


@pytest.mark.parametrize("name", ["department-id", "snapshot-at", "rows", "sha256", "kind", "format"])
def test_a_missing_value_is_named(path: Path, name: str) -> None:
    says = refusal(path, {key: value for key, value in WRITTEN.items() if key != name})
    assert name in says
    assert "found nothing" in says or f"{name} nothing" in says


def test_every_wrong_value_is_named_at_once(path: Path) -> None:
    says = refusal(path, {**WRITTEN, "rows": "-5", "snapshot-at": "2026-01-01", "department-id": "x\ny" * 99})
    assert "expected rows to be a count like 3000, found '-5'" in says
    assert (
        "expected snapshot-at to be a time with its offset like 2026-03-01T02:00:00+00:00, found '2026-01-01'" in says
    )
    assert "found 'x\\nyx\\ny" in says


@pytest.mark.parametrize(
    ("name", "value", "normal"),
    [
        ("snapshot-at", "2026-03-01T02:00:00Z", "2026-03-01T02:00:00+00:00"),
        ("snapshot-at", "2026-03-01T02:00:00+05:30", "2026-02-28T20:30:00+00:00"),
        ("snapshot-at", "2026-03-01T00:00:00-11:59", "2026-03-01T11:59:00+00:00"),
        ("snapshot-at", "9999-12-31T23:59:59+05:00", "9999-12-31T18:59:59+00:00"),
        ("department-id", DEPARTMENT.upper(), DEPARTMENT),
        ("rows", "0", "0"),
        ("rows", "9" * 18, "9" * 18),
        ("sha256", SHA256.upper(), SHA256),
        ("stream", "department-members", None),
        ("flow-run-id", "\n anything", None),
    ],
)
def test_another_spelling_of_a_good_value_is_the_same_value(
    path: Path, name: str, value: str, normal: str | None
) -> None:
    found = read(path, {**WRITTEN, name: value})
    assert found.snapshot_at is not None
    values = {"snapshot-at": found.snapshot_at.isoformat(), "rows": str(found.rows), "sha256": found.sha256}
    assert {**values, "department-id": found.scope and found.scope.id}.get(name) == normal


@pytest.mark.parametrize("spelled", [str.upper, str.title, str.lower])
def test_names_may_come_in_any_letter_case(path: Path, spelled: type[str]) -> None:
    assert read(path, {spelled(name): value for name, value in WRITTEN.items()}).rows == 3
    assert "found '-5'" in refusal(path, {**WRITTEN, "rows": "-5"})


def test_a_name_given_twice_is_refused_unless_it_is_nothing_to_us(path: Path) -> None:
    assert "found '3,4'" in refusal(path, {**WRITTEN, "Rows": "4"})
    assert read(path, {**WRITTEN, "author": "a", "Author": "b"}).rows == 3


@pytest.mark.parametrize("name", OURS_ALONE)
def test_a_file_that_names_a_department_or_a_snapshot_time_must_name_everything(path: Path, name: str) -> None:
    assert "found format nothing" in refusal(path, {name: WRITTEN[name]})
    assert "found format nothing" in refusal(path, {name.title(): "anything"})


@pytest.mark.parametrize(
    "metadata",
    [{}, {"Author": "me"}, {"rows": "many", "format": "csv"}, {"kind": "users", "sha256": "0"}, {"stream": "x", "flow-run-id": "y"}],
)  # fmt: skip
def test_a_file_with_other_metadata_is_a_plain_file(path: Path, metadata: dict[str, str]) -> None:
    found = read(path, metadata, version="null")
    assert (found.is_plain, found.rows, found.scope and found.scope.id, found.object.version_id) == (
        True,
        None,
        None,
        None,
    )


def test_content_that_is_not_the_one_published_is_refused(path: Path) -> None:
    path.write_bytes(b"changed\n")
    assert f"expected SHA-256 {SHA256}, found " in refusal(path, WRITTEN)
