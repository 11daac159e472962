"""The service's settings, from the environment."""

from collections.abc import Mapping

from tasks.errors import ConfigError
from webhooks.objects import Watched
from webhooks.service import Settings


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings, or a ConfigError that names every one that is missing."""
    problems = [
        f"{name} is not set" for name in ("S3_BUCKET_NAME", "S3_DEPARTMENT_MEMBERS_PATH") if name not in environment
    ]
    topics = frozenset(arn.strip() for arn in environment.get("WEBHOOK_TOPIC_ARNS", "").split(",") if arn.strip())
    api_key = environment.get("WEBHOOK_API_KEY")
    if not topics and api_key is None:
        problems.append("set WEBHOOK_TOPIC_ARNS, WEBHOOK_API_KEY or both: without them nobody may deliver")
    if api_key is not None and len(api_key) < 16:
        problems.append("WEBHOOK_API_KEY must be at least 16 characters")
    if problems:
        raise ConfigError("; ".join(problems))
    prefix = environment["S3_DEPARTMENT_MEMBERS_PATH"].partition("{")[0]
    return Settings(Watched(environment["S3_BUCKET_NAME"], prefix), topics, api_key)
