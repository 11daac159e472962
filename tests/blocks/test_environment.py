"""What the environment says, and all that is wrong with it at once."""

from pathlib import Path

import pytest

from blocks.environment import read_environment
from commands.save_blocks import blocks_from
from tasks.credentials import alert_topic, database, lms_account
from tasks.errors import ConfigError
from tasks.options import LoadOptions
from tasks.settings import Resolver, extract_settings, load_settings, source_object
from tasks.streams import MEMBERS

COMPLETE = {
    "REST_API_URL": "https://rest.myabsorb.eu/",
    "LMS_USERNAME": "ümlaut user",
    "LMS_PASSWORD": "p@ss:/%#?& ' \" \\ $x",
    "LMS_PRIVATE_KEY": "clé 鍵 7",
    "DEPARTMENT_ID": "5B0C9F5E-3D0A-4F0B-9A53-0A4F6A0C7D11",
    "S3_BUCKET_NAME": "bucket",
    "S3_DEPARTMENT_MEMBERS_PATH": "members/{department_id}.csv",
    "SNS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alerts",
    "BUSINESS_TRACKING_HOST": "db.example.org",
    "BUSINESS_TRACKING_DBNAME": "a name/with?chars",
    "BUSINESS_TRACKING_USER": "user@host",
    "BUSINESS_TRACKING_PASSWORD": "q@:/%#?&é",
    "BUSINESS_TRACKING_SCHEMA": "Business Tracking é",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import os

    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("LMS_", "BUSINESS_TRACKING_", "S3_", "SNS_", "AWS_", "REST_", "DEPARTMENT_")):
            monkeypatch.delenv(name)
    return tmp_path


def set_all(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, value in {**COMPLETE, **changes}.items():
        monkeypatch.setenv(name, value)


def problems_of(**changes: str) -> list[str]:
    problems: list[str] = []
    blocks_from({**COMPLETE, **changes}, problems)
    return problems


def test_values_of_any_characters_arrive_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch)
    account = lms_account(None)
    assert account.password.get_secret_value() == COMPLETE["LMS_PASSWORD"]
    assert account.private_key.get_secret_value() == COMPLETE["LMS_PRIVATE_KEY"]
    url = database(None).get_engine().url
    assert (url.password, url.username, url.database) == ("q@:/%#?&é", "user@host", "a name/with?chars")
    resolver = Resolver(None)
    assert load_settings(resolver, None, None).schema == "Business Tracking é"
    assert resolver.problems == []


def test_what_is_missing_is_told_all_at_once_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(None, environment={"LMS_USERNAME": "u"})
    extract_settings(resolver, MEMBERS, None, None, None, None, None)
    load_settings(resolver, None, None)
    with pytest.raises(ConfigError) as caught:
        resolver.finish()
    optional = {"LMS_USERNAME", "SNS_TOPIC_ARN", "BUSINESS_TRACKING_SCHEMA", "BUSINESS_TRACKING_PASSWORD"}
    for name in set(COMPLETE) - optional:
        assert str(caught.value).count(f"{name} is not set") == 1, name


@pytest.mark.parametrize(
    ("name", "value"),
    [("REST_API_URL", "http://rest.myabsorb.com"), ("LMS_PAGE_SIZE", "1001"), ("LMS_PAGE_SIZE", "secret-value"),
     ("LMS_MAX_CONNECTIONS", "0"), ("LMS_PRIVATE_KEY", "secret-value\n"), ("BUSINESS_TRACKING_PORT", "secret-value"),
     ("BUSINESS_TRACKING_PORT", "70000"), ("BUSINESS_TRACKING_SSLMODE", "secret-value"), ("SNS_TOPIC_ARN", "secret-value")],
)  # fmt: skip
def test_a_malformed_value_is_told_by_its_name_and_never_shown(name: str, value: str) -> None:
    [problem] = problems_of(**{name: value})
    assert problem.startswith(name)
    assert "secret-value" not in problem


@pytest.mark.parametrize(
    "value", ["not-a-guid", "5b0c9f5e3d0a4f0b9a530a4f6a0c7d11", "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11' or 1 eq 1"]
)
def test_a_department_that_is_no_guid_never_reaches_a_filter(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    set_all(monkeypatch, DEPARTMENT_ID=value)
    resolver = Resolver(None)
    extract_settings(resolver, MEMBERS, None, None, None, None, None)
    assert resolver.problems == [
        "DEPARTMENT_ID must be a GUID like 5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11, or several, separated by commas"
    ]


def test_each_flow_asks_only_for_what_it_uses() -> None:
    lms = {name: COMPLETE[name] for name in COMPLETE if not name.startswith("BUSINESS")}
    resolver = Resolver(None, environment=lms)
    settings = extract_settings(resolver, MEMBERS, None, None, None, None, None)
    assert settings.scopes[0].id == "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11"


def test_a_parameter_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch)
    resolver = Resolver(None)
    other = "00000000-0000-4000-8000-00000000000B"
    settings = extract_settings(resolver, MEMBERS, other, "other", "other.csv", {"externalId": "illum_id"}, ["notes"])
    assert (settings.scopes[0].id, settings.bucket, settings.path_template) == (other.lower(), "other", "other.csv")
    load = load_settings(resolver, "a schema", "a table")
    assert (load.schema, load.tables_with(MEMBERS)["department-members"]) == ("a schema", "a table")
    assert settings.names.column("externalId") == "illum_id"
    assert settings.names.column("notes") is None
    assert source_object(resolver, MEMBERS, "b", "a key/é+ .csv", "v7").key == "a key/é+ .csv"


def test_names_and_exclusions_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, LMS_COLUMN_NAMES='{"externalId": "illum_id"}', LMS_EXCLUDE_COLUMNS="notes, gender")
    names = extract_settings(Resolver(None), MEMBERS, None, None, None, None, None).names
    assert (names.column("externalId"), names.column("gender")) == ("illum_id", None)


@pytest.mark.parametrize("value", ["{", "[]", '{"a": 1}', '{"id": "member"}'])
def test_malformed_column_names_are_a_problem(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    set_all(monkeypatch, LMS_COLUMN_NAMES=value)
    resolver = Resolver(None)
    extract_settings(resolver, MEMBERS, None, None, None, None, None)
    assert len(resolver.problems) == 1


def test_a_dated_path_names_no_single_object(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, S3_DEPARTMENT_MEMBERS_PATH="{department_id}/{snapshot_at:%Y}.csv")
    resolver = Resolver(None)
    source_object(resolver, MEMBERS, None, None, None)
    assert len(resolver.problems) == 1
    assert "--key" in resolver.problems[0]


@pytest.mark.parametrize("limit", ["many", "-1", "1.5", "5%%", "%"])
def test_a_malformed_limit_is_a_problem_before_anything_runs(limit: str) -> None:
    problems: list[str] = []
    LoadOptions(max_rejected=limit, max_departures=limit).checked(problems)
    assert len(problems) == 2


def test_a_dotenv_file_is_read_and_never_overrides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS_USERNAME", "from the environment")
    monkeypatch.setenv("LMS_PASSWORD", "x")
    monkeypatch.delenv("LMS_PASSWORD")
    (folder / ".env").write_text("LMS_USERNAME=from-the-file\nLMS_PASSWORD='p@ss:/%#?&$word ${HOME}'\nDEPARTMENT_ID=\n")
    environment = read_environment()
    assert environment["LMS_USERNAME"] == "from the environment"
    assert environment["LMS_PASSWORD"] == "p@ss:/%#?&$word ${HOME}"
    assert "DEPARTMENT_ID" not in environment


def test_without_a_topic_there_is_none_and_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch)
    monkeypatch.delenv("SNS_TOPIC_ARN")
    assert alert_topic(None) is None


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_DEFAULT_REGION"])
def test_an_aws_setting_that_can_never_do_is_named_before_any_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    set_all(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, "no such thing")
    resolver = Resolver(None)
    extract_settings(resolver, MEMBERS, None, None, None, None, None)
    assert len(resolver.problems) == 1 and name in resolver.problems[0], resolver.problems
