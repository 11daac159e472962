"""The alert topic: what it sends to mail, what to chat, and which topics it takes."""

import json

import pytest

from blocks.environment import alert_topic_from, read_environment
from sandbox.aws import SimulatedAws
from tasks.chat import chat_message, in_format

BODY = """Flow: lms-to-s3
Run:  a run (5b0c9f5e)
Step: authenticate

AuthError: refused. `code` *bold* <https://evil.example|click> [here](https://evil.example)

Look: http://127.0.0.1:4200/runs/flow-run/5b0c9f5e
Help: docs/runbook/AuthError.md"""


def sent(aws: SimulatedAws, subject: str, body: str) -> dict[str, str]:
    topic = alert_topic_from(read_environment(), [])
    assert topic is not None
    topic.publish(subject, in_format(topic.alert_format, subject, body))
    [alert] = aws.alerts()
    return alert


def test_mail_gets_the_text_as_it_is(aws: SimulatedAws) -> None:
    assert sent(aws, "failed", BODY)["Message"] == BODY


def test_chat_gets_the_form_that_its_client_shows(aws: SimulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_FORMAT", "chat")
    found = json.loads(sent(aws, "department-members: failed", BODY)["Message"])
    assert (found["version"], found["source"]) == ("1.0", "custom")
    assert found["content"]["textType"] == "client-markdown"
    assert found["content"]["title"] == "department-members: failed"
    assert "AuthError: refused." in found["content"]["description"]


def test_in_chat_only_the_runs_own_link_can_be_clicked_on() -> None:
    description = json.loads(chat_message("s", BODY))["content"]["description"]
    code, _, below = description.removeprefix("```\n").partition("\n```\n")
    assert below == "http://127.0.0.1:4200/runs/flow-run/5b0c9f5e"
    assert not set("<>`") & set(code)


@pytest.mark.parametrize("length", [0, 7_900, 8_001, 300_000])
def test_chat_keeps_to_the_length_that_is_shown(length: int) -> None:
    content = json.loads(chat_message("t" * 400, "x" * length + "\nLook: https://prefect.example/r\n"))["content"]
    assert len(content["title"]) <= 250
    assert len(content["description"]) <= 8_000
    assert content["description"].endswith("\nhttps://prefect.example/r")


def test_a_text_longer_than_sns_takes_is_cut(aws: SimulatedAws) -> None:
    assert len(sent(aws, "failed", "x" * 400_000)["Message"]) == 200_000


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ALERT_FORMAT", "slack", "ALERT_FORMAT must be one of text, chat"),
        ("ALERT_FORMAT", "Chat", "ALERT_FORMAT must be one of text, chat"),
        ("SNS_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:alerts.fifo", "SNS_TOPIC_ARN is a FIFO topic"),
        ("SNS_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:a.b", "SNS_TOPIC_ARN is not a topic ARN"),
    ],
)
def test_a_topic_or_form_that_is_none_is_named(name: str, value: str, problem: str) -> None:
    problems: list[str] = []
    environment = {"SNS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alerts", name: value}
    assert alert_topic_from(environment, problems) is None
    assert problems[0].startswith(problem)
