"""The flows as their users run them: scripts in processes of their own, configured by the environment alone."""

import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox import faults
from sandbox.people import person
from sandbox.prefect_server import PrefectServer
from sandbox.stack import ROOT, Sandbox
from tasks.load.table_lock import LOCK_TABLE
from tasks.local_server import stop_own

pytestmark = pytest.mark.slow
SCRIPTS = ["flows/lms_to_s3.py", "flows/s3_to_rds.py", "flows/department_sync.py"]
NOISE = ("Traceback", "Warning", "WARNING", "ERROR", "CRITICAL", "Error logging")


def test_extract_then_load_land_every_value_with_clean_logs(clean: Sandbox) -> None:
    clean.lms.add_people(1500)
    for script, flags in (("flows/lms_to_s3.py", ()), ("flows/s3_to_rds.py", ("--create-table",))):
        done = clean.run(script, *flags)
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stderr.splitlines() if any(word in line for word in NOISE)] == []
    rows = clean.query(
        "SELECT lms_user_id::text, first_name, external_id, notes, custom_fields->>'decimal1' FROM department_members"
    )
    expected = [
        (member_id, member["firstName"], member["externalId"], member["notes"], decimal(member))
        for member_id, member in clean.lms.members.items()
    ]
    assert sorted(rows, key=str) == sorted(expected, key=str)


def decimal(member: dict[str, object]) -> str | None:
    fields = member["customFields"]
    return "8675309.00" if isinstance(fields, dict) else None


@pytest.fixture
def beside_server(clean: Sandbox, server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The clean sandbox, whose runs use a running Prefect server."""
    whole = {**clean.environment(), "PREFECT_API_URL": server.url}
    monkeypatch.setattr(clean, "environment", lambda: whole)
    return clean


def test_a_module_does_what_a_script_does(beside_server: Sandbox) -> None:
    beside_server.lms.add_people(3)
    done = beside_server.run("-m", "flows.department_sync", "--create-table")
    assert done.returncode == 0, done.stderr
    assert beside_server.query("SELECT count(*) FROM department_members") == [(3,)]


def exit_code(monkeypatch: pytest.MonkeyPatch, script: str, *flags: str) -> object:
    """What a script that ends before its flow begins exits with, run without the seconds in which Prefect is imported."""
    monkeypatch.setattr(sys, "argv", [script, *flags])
    try:
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / script), run_name="__main__")
    finally:
        stop_own()
    return caught.value.code


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_parameter_as_a_flag(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(monkeypatch, script, "--help") == 0
    listed = capsys.readouterr().out
    for flag in ("--dry-run", "--bucket", "--blocks"):
        assert flag in listed


@pytest.mark.parametrize(
    "flags", [("--no-such-flag",), ("--dry",), ("--schema-contract", "maybe"), ("--column-names", "{")]
)
def test_bad_flags_exit_with_2(flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(monkeypatch, "flows/department_sync.py", *flags) == 2


def test_a_missing_setting_exits_with_1_before_any_request(beside_server: Sandbox) -> None:
    done = beside_server.run("flows/department_sync.py", env={"DEPARTMENT_ID": "", "LMS_PAGE_SIZE": "0"})
    assert done.returncode == 1
    assert "DEPARTMENT_ID is not set" in done.stderr
    assert "LMS_PAGE_SIZE" in done.stderr
    assert "Traceback" not in done.stderr
    assert beside_server.lms.requests == []


def test_no_secret_is_written_anywhere(beside_server: Sandbox) -> None:
    """Failing and succeeding runs, then a search of all they leave: logs, Prefect's database, S3, SNS."""
    beside_server.lms.add_people(5)
    runs = [beside_server.run("flows/department_sync.py", "--create-table")]
    beside_server.lms.add({**person(77), "gender": "Marker-Gender"})
    beside_server.lms.password = "changed"
    runs.append(beside_server.run("flows/lms_to_s3.py"))
    beside_server.lms.password = beside_server.environment()["LMS_PASSWORD"]
    beside_server.lms.inject(faults.status(422, b'{"message":"Marker-Body"}'))
    runs.append(beside_server.run("flows/lms_to_s3.py"))
    runs.append(beside_server.run("flows/s3_to_rds.py", env={"BUSINESS_TRACKING_PASSWORD": "Marker@Db:/%"}))
    runs.append(beside_server.run("flows/department_sync.py", "--max-rejected", "0"))
    assert [run.returncode for run in runs] == [0, 1, 1, 1, 1]

    secrets = secret_forms(beside_server)
    left = {f"run {n}": (run.stdout + run.stderr).encode() for n, run in enumerate(runs)}
    left |= {str(path): path.read_bytes() for path in beside_server.prefect_home.rglob("*") if path.is_file()}
    left["alerts"] = repr(beside_server.aws.alerts()).encode()
    left |= {f"{key} metadata": repr(head(beside_server, key)).encode() for key in beside_server.aws.objects()}
    found = [(secret, where) for where, text in left.items() for secret in secrets if secret in text]
    assert found == []
    assert any("prefect.db" in where for where in left)


def secret_forms(box: Sandbox) -> list[bytes]:
    """Each secret, plain and percent-encoded, and what no log may hold of a person."""
    from urllib.parse import quote, quote_plus

    names = ("LMS_PASSWORD", "LMS_PRIVATE_KEY", "BUSINESS_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY")
    plain = [
        *(box.environment()[name] for name in names),
        box.lms._token,
        "Marker@Db:/%",
        "Marker-Gender",
        "Marker-Body",
    ]
    return [
        form.encode() for text in plain for form in {text, quote(text, safe=""), quote_plus(text), repr(text)[1:-1]}
    ]


def head(box: Sandbox, key: str) -> object:
    return box.aws.s3.head_object(Bucket="lms-snapshots", Key=key)


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        ("flows/lms_to_s3.py", signal.SIGTERM),
        ("flows/lms_to_s3.py", signal.SIGINT),
        ("flows/department_sync.py", signal.SIGTERM),
    ],
)
def test_a_run_that_is_told_to_stop_leaves_nothing_behind_and_tells_once(
    beside_server: Sandbox, tmp_path: Path, script: str, sent: signal.Signals
) -> None:
    beside_server.lms.add_people(50)
    beside_server.lms.inject(faults.delay(2, times=None))
    command = beside_server.command(script, env={"TMPDIR": str(tmp_path), "LMS_PAGE_SIZE": "10"})
    process = subprocess.Popen(**command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        if len(beside_server.lms.requests) >= 2:
            break
        time.sleep(0.1)
    [folder] = tmp_path.glob("department-members-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    process.send_signal(sent)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 1, log
    assert list(tmp_path.glob("department-members-*")) == []
    assert beside_server.aws.objects() == {}
    assert len(beside_server.aws.alerts()) == 1


def test_a_load_that_waits_for_another_can_be_told_to_stop(beside_server: Sandbox, tmp_path: Path) -> None:
    beside_server.lms.add_people(3)
    assert beside_server.run("flows/department_sync.py", "--create-table").returncode == 0
    holder = beside_server.postgres.connect()
    holder.cursor().execute(LOCK_TABLE, ('"public"."department_members"',))
    command = beside_server.command("flows/s3_to_rds.py", "--replay", env={"TMPDIR": str(tmp_path)})
    process = subprocess.Popen(**command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "another load" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    holder.close()
    assert process.returncode == 1, log
    assert list(tmp_path.glob("department-members-*")) == []
    assert len(beside_server.aws.alerts()) == 1
    assert beside_server.query("SELECT count(*) FROM lms_loads") == [(1,)]


def test_nothing_secret_stands_in_the_list_of_processes(beside_server: Sandbox) -> None:
    import psutil

    beside_server.lms.add_people(5)
    beside_server.lms.inject(faults.delay(3))
    process = subprocess.Popen(
        **beside_server.command("flows/lms_to_s3.py"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(300):
        if beside_server.lms.requests:
            break
        time.sleep(0.1)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    shown = " ".join(word for member in family for word in member.cmdline())
    assert process.wait(60) == 0
    assert [secret for secret in secret_forms(beside_server) if secret.decode() in shown] == []
