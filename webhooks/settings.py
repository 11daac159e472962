"""The service's settings, from the environment."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from prefect.settings import PREFECT_API_URL

from blocks.alerts import FIFO, TOPIC_ARN
from blocks.environment import alert_topic_from
from tasks.errors import ConfigError
from tasks.streams import STREAMS
from webhooks.objects import SnapshotFilter
from webhooks.outbound import CA_BUNDLES, trusted_context
from webhooks.service import Settings, WatchSettings

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings, or a ConfigError that names every one that is missing."""
    problems = [
        f"{name} is not set" for name in ("S3_BUCKET_NAME", "S3_DEPARTMENT_MEMBERS_PATH") if name not in environment
    ]
    topics = frozenset(arn.strip() for arn in environment.get("WEBHOOK_TOPIC_ARNS", "").split(",") if arn.strip())
    api_key = environment.get("WEBHOOK_API_KEY")
    if not (topics or api_key or "WATCH_API_KEY" in environment):
        problems.append(
            "set WEBHOOK_TOPIC_ARNS, WEBHOOK_API_KEY or WATCH_API_KEY; without any of them, no sender is accepted"
        )
    problems += [
        f"WEBHOOK_TOPIC_ARNS: {arn!r} is not a topic ARN like arn:aws:sns:eu-west-1:123456789012:objects"
        for arn in sorted(topics)
        if TOPIC_ARN.fullmatch(arn.removesuffix(FIFO)) is None
    ]
    if api_key is not None and not is_key(api_key):
        problems.append("WEBHOOK_API_KEY must be at least 16 printable characters, without leading or trailing spaces")
    if api_key is not None and api_key == environment.get("WATCH_API_KEY"):
        problems.append(
            "WEBHOOK_API_KEY and WATCH_API_KEY must differ, so that a sender of S3 events cannot send alerts"
        )
    if not BUCKET.fullmatch(environment.get("S3_BUCKET_NAME", "bucket")):
        problems.append("S3_BUCKET_NAME must be a bucket's name, such as snapshots: no s3://, no path")
    watch = watch_settings(environment, problems)
    if problems:
        raise ConfigError("fix these settings:", problems)
    paths = (environment.get(stream.path_setting, stream.default_path) for stream in STREAMS.values())
    # all keys that the template can make begin with what stands before its first field
    prefixes = tuple(path.partition("{")[0] for path in paths if path is not None)
    return Settings(SnapshotFilter(environment["S3_BUCKET_NAME"], prefixes), topics, api_key, watch)


def watch_settings(environment: Mapping[str, str], problems: list[str]) -> WatchSettings | None:
    """How the watch's calls become messages, where WATCH_API_KEY is set; what is wrong goes to `problems`."""
    key = environment.get("WATCH_API_KEY")
    if key is None:
        return None
    if problem := watch_key_problem(key):
        problems.append(problem)
    if "SNS_TOPIC_ARN" not in environment:
        problems.append("SNS_TOPIC_ARN is not set, but WATCH_API_KEY is; the watch's alerts need a topic")
    topic = alert_topic_from(environment, problems)
    return WatchSettings(key, topic) if topic else None


def watch_key_problem(key: str) -> str | None:
    """What is wrong with the key between Prefect's server and the service, or None."""
    if key.isascii() and is_key(key):
        return None
    return "WATCH_API_KEY must be at least 16 ASCII characters, without leading or trailing spaces"


def is_key(key: str) -> bool:
    """Whether it is safe to send in a header and too long to guess."""
    return len(key) >= 16 and key.isprintable() and key == key.strip()


def check_reach() -> None:
    """Raise ConfigError if the Prefect address or the CA bundle cannot possibly work."""
    address = urlsplit(PREFECT_API_URL.value() or "")
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise ConfigError("PREFECT_API_URL must be the API's address, such as http://127.0.0.1:4200/api")
    try:
        trusted_context()
    except OSError:
        raise ConfigError(f"the CA bundle named in {', '.join(CA_BUNDLES)} or SSL_CERT_FILE cannot be read") from None
