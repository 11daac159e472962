"""A setting with which Prefect cannot be imported, or a run cannot start, is named and not shown; one alert is sent."""

import subprocess
from pathlib import Path

import pytest

from sandbox.stack import ROOT, Sandbox

pytestmark = pytest.mark.slow
SECRET = "a-word-that-is-secret-é"
WRONG_SETTINGS = {
    "PREFECT_LOGGING_LEVEL": SECRET,
    "PREFECT_SERVER_LOGGING_LEVEL": SECRET,
    "PREFECT_API_REQUEST_TIMEOUT": SECRET,
    "PREFECT_CLIENT_CUSTOM_HEADERS": SECRET,
    "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK": SECRET,
    "PREFECT_LOGGING_SETTINGS_PATH": str(ROOT),
    "PREFECT_PROFILES_PATH": str(ROOT / "README.md"),
    "PREFECT_HOME": str(ROOT / "README.md"),
}


def assert_is_said(done: subprocess.CompletedProcess[str], clean: Sandbox, named: str) -> None:
    """The last line of the script, and the only alert, name the setting, and do not show its value."""
    last = done.stderr.rstrip().splitlines()[-1]
    assert (done.returncode, last.startswith("lms-to-s3 failed. ConfigError: "), named in last) == (1, True, True), last
    [alert] = clean.aws.alerts()
    assert alert["Subject"].endswith("lms-to-s3 failed (ConfigError)")
    assert named in alert["Message"]
    assert SECRET not in last + alert["Message"]


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_a_setting_that_prefect_cannot_start_with_is_named(clean: Sandbox, name: str) -> None:
    done = clean.run("flows/lms_to_s3.py", env={name: WRONG_SETTINGS[name]})
    assert_is_said(done, clean, name)
    assert "Traceback" not in done.stderr


def test_a_key_of_prefect_that_no_header_can_hold_is_named(clean: Sandbox) -> None:
    done = clean.run("flows/lms_to_s3.py", env={"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_API_KEY": SECRET})
    assert_is_said(done, clean, "PREFECT_API_KEY")


def test_a_logging_configuration_that_hides_why_prefect_cannot_be_imported_is_named(
    clean: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "logging.yml").write_text("- a list\n")
    done = clean.run("flows/lms_to_s3.py", env={"PREFECT_LOGGING_SETTINGS_PATH": str(tmp_path / "logging.yml")})
    assert_is_said(done, clean, "PREFECT_LOGGING_SETTINGS_PATH")


@pytest.mark.parametrize(
    ("text", "named"), [(f'[logging]\nlevel = "{SECRET}"', "PREFECT_LOGGING_LEVEL"), ("x", "prefect.toml")]
)
def test_a_file_of_settings_that_prefect_cannot_start_with_is_named(clean: Sandbox, text: str, named: str) -> None:
    file = clean.prefect_home / "prefect.toml"
    file.write_text(text, encoding="utf-8")
    done = clean.run("flows/lms_to_s3.py")
    file.unlink()
    assert_is_said(done, clean, named)
