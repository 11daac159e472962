"""No text from outside adds a line, a link or Markdown to an alert, a log or a report."""

import logging
from dataclasses import fields, replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.objects import FlowRun
from prefect.states import Failed

from flows.s3_to_rds import s3_to_rds
from tasks.alert import message
from tasks.errors import ConfigError, ObjectInvalid
from tasks.extract.report import ExtractReport
from tasks.load.report import LoadReport
from tasks.log import run_logger
from tasks.report import notes
from tasks.s3 import S3Object
from tasks.text import harmless, quoted_code, subject_line
from webhooks.alerts import ALERT
from webhooks.alerts import message as watch_message

FORGERIES = [
    "a.csv\n\nACTION NEEDED: Sign in: https://evil.example",
    "a.csv\r\nACTION NEEDED: https://evil.example",
    "a.csv\u2028ACTION NEEDED\u2029\x85: HTTPS://evil.example",
    "a.csv\x0b\x0c\x1c\x1dACTION NEEDED: www.evil.example",
    "a.csv\x1b[2K\x1b]8;;https://evil.example\x07ACTION NEEDED",
    "a.csv\u202e\u200bACTION NEEDED ftp://evil.example",
    "a.csv`](https://evil.example) | ACTION NEEDED | # <b>",
]


def clean(text: str) -> bool:
    """Whether a text is one printable line without a link."""
    return (
        text.isprintable()
        and "evil.example" in text
        and "tp://evil" not in text.lower()
        and "tps://" not in text.lower()
    )


@pytest.mark.parametrize("forged", FORGERIES)
def test_a_key_adds_no_line_and_no_link_to_an_alert(forged: str) -> None:
    run = FlowRun(flow_id=uuid4(), name=f"s3-to-rds {forged}")
    error = ObjectInvalid(f"{S3Object('bucket', forged)}: there is no such object. Check bucket and key.")
    plain = ObjectInvalid(f"{S3Object('bucket', 'a.csv')}: there is no such object. Check bucket and key.")
    subject, text = message(s3_to_rds, run, Failed(data=error))
    usual = message(s3_to_rds, FlowRun(flow_id=uuid4(), name="s3-to-rds a.csv"), Failed(data=plain))[1]
    assert len(text.split("\n")) == len(text.splitlines()) == len(usual.splitlines())
    assert subject.isprintable()
    assert "https://" not in text.lower() and "www." not in text


@pytest.mark.parametrize("forged", FORGERIES)
def test_each_problem_of_several_is_one_line(forged: str) -> None:
    error = ConfigError("fix these settings:", [f"one {forged}", "two"])
    text = message(s3_to_rds, FlowRun(flow_id=uuid4(), name="a run"), Failed(data=error))[1]
    assert [line[:7] for line in text.splitlines() if line.startswith("  - ")] == ["  - one", "  - two"]
    assert str(error).count("\n") == 2


@pytest.mark.parametrize("forged", FORGERIES)
def test_a_log_line_stays_one(caplog: pytest.LogCaptureFixture, forged: str) -> None:
    with caplog.at_level(logging.INFO):
        run_logger().info("read %s and %d rows", S3Object("b", forged), 3)
        run_logger().warning("the LMS sends keys: %s", (forged,))
    assert len(caplog.messages) == 2
    assert all(line.isprintable() and "https://" not in line.lower() for line in caplog.messages)


@pytest.mark.parametrize("forged", FORGERIES)
def test_a_report_holds_no_markdown_of_others(forged: str) -> None:
    shown = quoted_code(forged)
    kept = {"outcome": "loaded", "stream": "department-members", "snapshot_at": "now", "previous_rows": None}
    kinds: list[Any] = [ExtractReport, LoadReport]
    for kind in kinds:
        values: dict[Any, Any] = {str: shown, int: 1, float: 1.0}
        given = {field.name: values.get(field.type) for field in fields(kind)} | kept
        report = kind(**{field.name: given[field.name] for field in fields(kind)})
        usual = replace(report, **{name: "x" for name, value in given.items() if value == shown})
        assert len(report.markdown().splitlines()) == len(usual.markdown().splitlines())
        assert report.markdown().count("`") == usual.markdown().count("`")
        assert "https://" not in report.markdown().lower()
    assert all(line.startswith("- **") and line.endswith("`") for line in notes({"Keys": shown})[1:])


@pytest.mark.parametrize("forged", FORGERIES)
@pytest.mark.parametrize(
    "alert",
    [
        {"alert": "silent", "table": "{}", "department": "{}", "hours": 26},
        {"alert": "workerless", "pool": "{}"},
        {"alert": "untold", "flow": "{}", "run": "{}", "run_id": str(uuid4())},
    ],
    ids=["silent", "workerless", "untold"],
)
def test_a_name_adds_nothing_to_an_alert_of_the_watch(alert: dict[str, Any], forged: str) -> None:
    def lines(name: str) -> list[str]:
        filled = {key: value.replace("{}", name) if isinstance(value, str) else value for key, value in alert.items()}
        subject, text = watch_message(ALERT.validate_python({**filled, "since": "2026-03-01T02:00:00Z"}))
        assert subject.isprintable() and "://" not in subject
        assert "https://" not in text.lower()
        return text.splitlines()

    assert len(lines(forged)) == len(lines("usual"))


@given(st.text())
def test_whatever_the_text_it_becomes_one_printable_line_without_a_link(text: str) -> None:
    line = harmless(text)
    assert line.isprintable()
    assert "://" not in line.replace("s3://", "")
    assert "`" not in quoted_code(text)
    assert len(subject_line(text)) < 100
    assert subject_line(text).isascii() and subject_line(text).isprintable()


def test_a_very_long_text_is_cut() -> None:
    assert len(harmless("x" * 10_000_000)) < 5_000
