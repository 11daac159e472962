"""The service's settings, from the environment."""

from collections.abc import Mapping

from blocks.environment import alert_topic_from
from tasks.errors import ConfigError
from tasks.streams import STREAMS
from webhooks.objects import Watched
from webhooks.service import Settings, WatchSettings


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings, or a ConfigError that names every one that is missing."""
    problems = [
        f"{name} is not set" for name in ("S3_BUCKET_NAME", "S3_DEPARTMENT_MEMBERS_PATH") if name not in environment
    ]
    topics = frozenset(arn.strip() for arn in environment.get("WEBHOOK_TOPIC_ARNS", "").split(",") if arn.strip())
    api_key = environment.get("WEBHOOK_API_KEY")
    if not (topics or api_key or "WATCH_API_KEY" in environment):
        problems.append("set WEBHOOK_TOPIC_ARNS, WEBHOOK_API_KEY or WATCH_API_KEY: without them nobody may deliver")
    if api_key is not None and len(api_key) < 16:
        problems.append("WEBHOOK_API_KEY must be at least 16 characters")
    watch = watch_settings(environment, problems)
    if problems:
        raise ConfigError("fix these settings:", problems)
    paths = (environment.get(stream.path_setting, stream.default_path) for stream in STREAMS.values())
    prefixes = tuple(path.partition("{")[0] for path in paths if path is not None)
    return Settings(Watched(environment["S3_BUCKET_NAME"], prefixes), topics, api_key, watch)


def watch_settings(environment: Mapping[str, str], problems: list[str]) -> WatchSettings | None:
    """How the watch's calls become messages, where WATCH_API_KEY is set; what is wrong goes to `problems`."""
    key = environment.get("WATCH_API_KEY")
    if key is None:
        return None
    if problem := watch_key_problem(key):
        problems.append(problem)
    if "SNS_TOPIC_ARN" not in environment:
        problems.append("SNS_TOPIC_ARN is not set, and WATCH_API_KEY is: the watch's messages have nowhere to go")
    topic = alert_topic_from(environment, problems)
    return WatchSettings(key, topic) if topic else None


def watch_key_problem(key: str) -> str | None:
    """What is wrong with the key between Prefect's server and the service, or None."""
    if len(key) >= 16 and key.isascii() and key.isprintable():
        return None
    return "WATCH_API_KEY must be at least 16 ASCII characters"
