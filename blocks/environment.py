"""Read environment variables (and a `.env` file) into blocks and plain settings.

A problem names the variable, never its value, and all problems of a run are reported together.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from prefect_aws import AwsClientParameters, AwsCredentials
from prefect_aws.s3 import S3Bucket
from pydantic import SecretStr, ValidationError

from blocks.alerts import FORMATS, AlertTopic
from blocks.endpoints import s3_endpoint
from blocks.lms import LmsAccount

LMS_NAMES = {
    "rest_api_url": "REST_API_URL",
    "username": "LMS_USERNAME",
    "password": "LMS_PASSWORD",
    "private_key": "LMS_PRIVATE_KEY",
    "hash_key": "LMS_HASH_KEY",
    "page_size": "LMS_PAGE_SIZE",
    "max_connections": "LMS_MAX_CONNECTIONS",
}
OPTIONAL_LMS_FIELDS = {"hash_key", "page_size", "max_connections"}


class UnreadableFile(ValueError):
    """A `.env` that cannot be read; says which and why."""


def read_environment() -> dict[str, str]:
    """The process's environment over the working directory's `.env`; empty values count as absent.

    What `.env` holds joins the process's environment, since boto3, requests and libpq read their own names there.

    Raises:
        UnreadableFile: `.env` exists but is not text that this user can read.
    """
    path = Path.cwd() / ".env"
    try:
        # no interpolation: a password may contain $
        load_dotenv(path, override=False, interpolate=False)
    except (OSError, ValueError) as error:  # UTF-16 is no UTF-8; a null byte is no value
        raise UnreadableFile(
            f"{path} cannot be read ({type(error).__name__}). Save it as UTF-8 and make it readable by this user."
        ) from None
    return {name: value for name, value in os.environ.items() if value}


def lms_account_from(environment: Mapping[str, str], problems: list[str]) -> LmsAccount | None:
    """The LMS account that the environment describes, or None with what is wrong in `problems`."""
    required = [name for field, name in LMS_NAMES.items() if field not in OPTIONAL_LMS_FIELDS]
    missing = missing_names(environment, required, problems)
    values = {field: environment[name] for field, name in LMS_NAMES.items() if name in environment}
    try:
        return LmsAccount.model_validate(values)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = LMS_NAMES[str(problem["loc"][0])]
            if name not in missing:
                problems.append(f"{name} {_reason(problem['msg'])}")
        return None


def s3_bucket_from(environment: Mapping[str, str], problems: list[str]) -> S3Bucket | None:
    """The bucket; boto3 finds the credentials by AWS's own names, or the instance's role."""
    if missing_names(environment, ["S3_BUCKET_NAME"], problems):
        return None
    return S3Bucket(bucket_name=environment["S3_BUCKET_NAME"], credentials=AwsCredentials())


def alert_topic_from(environment: Mapping[str, str], problems: list[str]) -> AlertTopic | None:
    """The alert topic, or None where SNS_TOPIC_ARN is not set: alerts are then only logged."""
    form = environment.get("ALERT_FORMAT", "text")
    if form not in FORMATS:
        problems.append(f"ALERT_FORMAT must be one of {', '.join(FORMATS)}")
        return None
    if "SNS_TOPIC_ARN" not in environment:
        return None
    try:
        fields = {"topic_arn": environment["SNS_TOPIC_ARN"], "credentials": AwsCredentials(), "alert_format": form}
        return AlertTopic.model_validate(fields)
    except ValidationError as error:
        problems.append(f"SNS_TOPIC_ARN {_reason(error.errors()[0]['msg'])}")
        return None


def aws_credentials_from(environment: Mapping[str, str]) -> AwsCredentials:
    """AWS's keys to be saved in a block; empty, for the worker's own role, where there are none that last.

    A session token is short-lived and Prefect would show it in plain text, so it is never saved; nor are the keys that
    only work with it.
    """
    keys: dict[str, Any] = {}
    if "AWS_SESSION_TOKEN" not in environment and "AWS_SECRET_ACCESS_KEY" in environment:
        keys["aws_access_key_id"] = environment.get("AWS_ACCESS_KEY_ID")
        keys["aws_secret_access_key"] = SecretStr(environment["AWS_SECRET_ACCESS_KEY"])
    region = environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION")
    endpoint = AwsClientParameters(endpoint_url=s3_endpoint())
    return AwsCredentials(**keys, region_name=region, aws_client_parameters=endpoint)


def missing_names(environment: Mapping[str, str], names: list[str], problems: list[str]) -> list[str]:
    """Those of the names that are not set, each named in `problems`."""
    missing = [name for name in names if name not in environment]
    problems.extend(f"{name} is not set" for name in missing)
    return missing


def _reason(pydantic_message: str) -> str:
    # pydantic puts this before what a validator raises
    text = pydantic_message.removeprefix("Value error, ")
    return text[0].lower() + text[1:]
