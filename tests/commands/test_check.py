"""`python -m tasks.check`: each credential and right is tried, nothing is written, and what is wrong is said."""

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from commands.check import run, say
from commands.save_blocks import save_all
from sandbox import faults
from sandbox.people import DEPARTMENT
from sandbox.stack import Sandbox
from tasks.load.schema import create_statement
from tasks.streams import MEMBERS


@pytest.fixture
def ready(in_process: Sandbox) -> Sandbox:
    in_process.lms.add_people(30)
    in_process.query(create_statement(MEMBERS, "public.department_members"))
    return in_process


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_all_is_well_and_nothing_was_written(ready: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(None)
    told = lines(capsys)
    assert {line.split()[0] for line in told} == {"ok"}
    assert {line.split()[1] for line in told} == {"LMS", "bucket", "topic", "database", "Prefect"}
    assert any("is 'Sandbox' with 30 members" in line for line in told)
    assert ready.aws.objects() == {}
    assert ready.aws.s3.list_multipart_uploads(Bucket="lms-snapshots").get("Uploads", []) == []
    assert ready.aws.alerts() == []
    assert ready.query("SELECT to_regclass('lms_loads')") == [(None,)]


def test_a_dated_path_is_tried_under_todays_key(
    ready: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_DEPARTMENT_MEMBERS_PATH", "{department_id}/{snapshot_at:%Y}/members.csv")
    assert run(None)
    key = f"{DEPARTMENT}/{datetime.now(UTC):%Y}/members.csv"
    assert any(f"s3://lms-snapshots/{key} does not exist yet" in line for line in lines(capsys))


def test_the_saved_blocks_are_tried(
    ready: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all("checked")
    for name in ("LMS_PASSWORD", "BUSINESS_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert run("checked"), lines(capsys)
    assert not run(None)


WRONG: list[tuple[str, Callable[[Sandbox], object], dict[str, str], str]] = [
    ("a password", lambda box: setattr(box.lms, "password", "another"), {}, "FAIL LMS       AuthError"),
    (
        "a department",
        lambda box: None,
        {"DEPARTMENT_ID": "00000000-0000-4000-8000-000000000000"},
        "FAIL LMS       ConfigError",
    ),
    ("a bucket", lambda box: None, {"S3_BUCKET_NAME": "no-such-bucket"}, "FAIL bucket    ConfigError"),
    (
        "a topic",
        lambda box: None,
        {"SNS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:none"},
        "FAIL topic     ConfigError",
    ),
    (
        "a FIFO topic",
        lambda box: box.aws.sns.create_topic(Name="alerts.fifo", Attributes={"FifoTopic": "true"}),
        {"SNS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alerts.fifo"},
        "FAIL topic     ConfigError: fix these settings: SNS_TOPIC_ARN is a FIFO topic",
    ),
    ("an endpoint", lambda box: None, {"AWS_ENDPOINT_URL_SNS": "nonsense"}, "FAIL topic     ConfigError"),
    (
        "an LMS of another shape",
        lambda box: box.lms.inject(faults.status(200, b"[]", times=None)),
        {},
        "FAIL LMS       IncompleteSnapshot",
    ),
    (
        "a department of another shape",
        lambda box: box.lms.inject(faults.status(200, b"7", path=f"/departments/{DEPARTMENT}", times=None)),
        {},
        "FAIL LMS       IncompleteSnapshot",
    ),
    ("no topic", lambda box: None, {"SNS_TOPIC_ARN": ""}, "FAIL topic     ConfigError"),
    ("a table", lambda box: box.query("DROP TABLE department_members"), {}, "FAIL database  SchemaMismatch"),
    ("a database", lambda box: None, {"BUSINESS_TRACKING_PORT": "9"}, "FAIL database  Unreachable"),
    (
        "a setting",
        lambda box: None,
        {"REST_API_URL": "http://example.org"},
        "FAIL settings  REST_API_URL must begin with https://",
    ),
]


@pytest.mark.parametrize(("cause", "env", "says"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_told_and_the_rest_is_tried_all_the_same(
    ready: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    cause: Callable[[Sandbox], object], env: dict[str, str], says: str,
) -> None:  # fmt: skip
    cause(ready)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert not run(None)
    told = lines(capsys)
    assert [line for line in told if line.startswith(says)], told
    assert len([line for line in told if line.startswith("ok")]) >= 4


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("name", ["Ödegård 部門", "\U0001f600", "line\nbreak \x1b[2K"])
def test_a_terminal_without_the_characters_gets_escapes(
    monkeypatch: pytest.MonkeyPatch, encoding: str, name: str
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", terminal)
    say("ok", "LMS", f"department is {name}")
    terminal.seek(0)
    assert len(terminal.read().splitlines()) == 1


def test_a_missing_right_is_named(
    ready: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = ready.postgres.connect(user="postgres")
    with admin, admin.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD 'reader'")
        cursor.execute("GRANT SELECT ON department_members TO reader")
    monkeypatch.setenv("BUSINESS_TRACKING_USER", "reader")
    monkeypatch.setenv("BUSINESS_TRACKING_PASSWORD", "reader")
    assert not run(None)
    assert any("lacks SELECT, INSERT and UPDATE on" in line for line in lines(capsys))
    with admin, admin.cursor() as cursor:
        cursor.execute("DROP OWNED BY reader; DROP ROLE reader")
    admin.close()
