"""Saving the blocks, on a real Prefect API."""

from typing import Any

import pytest
from prefect_aws import AwsCredentials
from prefect_aws.s3 import S3Bucket
from prefect_sqlalchemy import SqlAlchemyConnector
from pydantic import SecretStr

from blocks import AlertTopic, LmsAccount
from commands.save_blocks import main, save_all
from tasks.credentials import alert_topic, database, lms_account, s3_bucket
from tasks.errors import ConfigError
from tasks.s3 import S3Object, s3_access
from tests.blocks.test_environment import COMPLETE

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")


def test_all_blocks_are_saved_once_however_often_and_read_back() -> None:
    first = save_all("first")
    assert save_all("first") == first
    assert [slug.split("/")[0] for slug in first] == [
        "aws-credentials", "lms-account", "s3-bucket", "sqlalchemy-connector", "alert-topic",
    ]  # fmt: skip
    assert lms_account("first").password.get_secret_value() == COMPLETE["LMS_PASSWORD"]
    url = database("first").get_engine().url
    assert (url.password, url.query["sslmode"]) == (COMPLETE["BUSINESS_TRACKING_PASSWORD"], "prefer")
    topic = alert_topic("first")
    assert topic is not None
    assert topic.credentials.aws_access_key_id == "AKIAEXAMPLE"


def test_a_second_environment_takes_a_second_name(monkeypatch: pytest.MonkeyPatch) -> None:
    save_all("production")
    monkeypatch.setenv("S3_BUCKET_NAME", "staging-bucket")
    save_all("staging")
    assert (s3_bucket("production").bucket_name, s3_bucket("staging").bucket_name) == ("bucket", "staging-bucket")


def test_a_rotated_aws_key_is_saved_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    save_all("rotated")
    AwsCredentials(aws_access_key_id="AKIANEW", aws_secret_access_key=SecretStr("new")).save("rotated", overwrite=True)
    credentials: Any = s3_bucket("rotated").credentials
    assert credentials.aws_access_key_id == "AKIANEW"


def test_a_session_token_is_never_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "marker-token")
    save_all("temporary")
    saved: Any = AwsCredentials.load("temporary")
    assert (saved.aws_session_token, saved.aws_access_key_id) == (None, None)


S3, SNS, BOTH = "http://127.0.0.1:9001", "http://127.0.0.1:9002", "http://127.0.0.1:9003"
OWN_SNS = "https://sns.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("endpoints", "s3", "sns"),
    [
        ({"S3": S3, "SNS": SNS}, S3, SNS),
        ({"S3": S3}, S3, OWN_SNS),
        ({"SNS": SNS}, "https://s3.eu-west-1.amazonaws.com", SNS),
        ({"": BOTH}, BOTH, BOTH),
        ({"": BOTH, "S3": S3}, S3, BOTH),
        ({"": BOTH, "SNS": SNS}, BOTH, SNS),
        ({}, "https://s3.eu-west-1.amazonaws.com", OWN_SNS),
    ],
    ids=str,
)
def test_each_service_keeps_its_own_endpoint(
    monkeypatch: pytest.MonkeyPatch, endpoints: dict[str, str], s3: str, sns: str
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    names = {service: "_".join(filter(None, ("AWS_ENDPOINT_URL", service))) for service in ("", "S3", "SNS")}
    for service, url in endpoints.items():
        monkeypatch.setenv(names[service], url)
    save_all("endpoints")
    for name in names.values():
        monkeypatch.delenv(name, raising=False)
    topic = alert_topic("endpoints")
    assert topic is not None
    with s3_access(S3Object("bucket", "key"), "endpoints") as client:
        assert (client.meta.endpoint_url, topic.client().meta.endpoint_url) == (s3, sns)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"AWS_SESSION_TOKEN": "marker-token"}, "AWS keys were NOT saved: AWS_SESSION_TOKEN is set"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "AWS keys were not saved, since none are"),
        ({}, "AWS keys were saved in aws-credentials"),
    ],
)
def test_what_became_of_the_aws_keys_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["--name", "said"]) == 0
    out = capsys.readouterr().out
    assert says in out
    assert "marker-token" not in out


def test_a_profile_that_is_not_there_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SystemExit, match="Check AWS_PROFILE"):
        save_all("profile")


def test_the_form_of_alerts_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_FORMAT", "chat")
    save_all("chat")
    monkeypatch.delenv("ALERT_FORMAT")
    topic = alert_topic("chat")
    assert topic is not None and topic.alert_format == "chat"


def test_nothing_is_saved_from_an_environment_with_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS_PAGE_SIZE", "5000")
    monkeypatch.delenv("BUSINESS_TRACKING_HOST")
    with pytest.raises(SystemExit, match="(?s)LMS_PAGE_SIZE.*BUSINESS_TRACKING_HOST is not set"):
        save_all("faulty")
    with pytest.raises(ConfigError, match="python -m blocks.save --name faulty"):
        lms_account("faulty")


def test_secrets_are_masked_wherever_a_block_is_shown() -> None:
    save_all("masked")
    kinds: list[Any] = [LmsAccount, S3Bucket, SqlAlchemyConnector, AlertTopic]
    blocks = [kind.load("masked") for kind in kinds]
    shown = "".join(f"{block!r}{block}{block.model_dump()}" for block in blocks)
    for secret in ("LMS_PASSWORD", "LMS_PRIVATE_KEY", "BUSINESS_TRACKING_PASSWORD"):
        assert COMPLETE[secret] not in shown
    assert "aws-secret" not in shown


def test_the_alert_topic_falls_back_to_the_environment() -> None:
    topic = alert_topic("never-saved")
    assert topic is not None
    assert topic.topic_arn == COMPLETE["SNS_TOPIC_ARN"]
