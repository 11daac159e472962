"""Save all blocks from environment variables: `python -m blocks.save [--name NAME]`.

Saves the blocks lms-account, s3-bucket, aws-credentials, sqlalchemy-connector and alert-topic under one name; a
deployment refers to that name in its `blocks` parameter. Saving again overwrites them. Use a second name for a
second environment.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from botocore.exceptions import BotoCoreError
from prefect.blocks.core import Block
from prefect_aws.s3 import S3Bucket

from blocks.alerts import AlertTopic
from blocks.database import database_from
from blocks.endpoints import sns_endpoint
from blocks.environment import (
    UnreadableFile,
    alert_topic_from,
    aws_credentials_from,
    lms_account_from,
    read_environment,
    s3_bucket_from,
)
from tasks.errors import ConfigError
from tasks.local_server import prefect_api

DEFAULT_NAME = "department-members"


def save_all(name: str) -> list[str]:
    """Save the set; returns the slugs saved. Nothing is saved unless everything is valid."""
    problems: list[str] = []
    try:
        environment = read_environment()
    except UnreadableFile as error:
        raise SystemExit(f"Nothing was saved:\n  {error}") from None
    found = blocks_from(environment, problems)
    if problems:
        raise SystemExit("Nothing was saved:\n" + "\n".join(f"  {problem}" for problem in problems))
    try:
        credentials = aws_credentials_from(environment)
        for topic in found:
            if isinstance(topic, AlertTopic):
                topic.endpoint_url = sns_endpoint(topic)
    except (BotoCoreError, OSError, ValueError) as error:
        raise SystemExit(
            f"Nothing was saved:\n  the AWS client rejected its settings ({type(error).__name__}). Check "
            "AWS_PROFILE, AWS_CONFIG_FILE, AWS_CA_BUNDLE, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL."
        ) from None
    credentials.save(name, overwrite=True)
    for block in found:
        if isinstance(block, (S3Bucket, AlertTopic)):
            block.credentials = credentials  # a saved block is referred to: a new key is saved in one place
        if block is not None:
            block.save(name, overwrite=True)
    saved = [credentials, *(block for block in found if block is not None)]
    return [f"{block.get_block_type_slug()}/{name}" for block in saved]


def blocks_from(environment: Mapping[str, str], problems: list[str]) -> list[Block | None]:
    """Every block of this pipeline, as the environment describes it."""
    return [
        lms_account_from(environment, problems),
        s3_bucket_from(environment, problems),
        database_from(environment, problems),
        alert_topic_from(environment, problems),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `python -m blocks.save`."""
    parser = argparse.ArgumentParser(prog="python -m blocks.save", description=__doc__)
    parser.add_argument(
        "--name",
        default=DEFAULT_NAME,
        help="the name to save the blocks under: lower-case letters, digits and dashes (default department-members)",
    )
    options = parser.parse_args(arguments)
    try:
        with prefect_api():
            for slug in save_all(options.name):
                sys.stdout.write(f"saved {slug}\n")
    except ConfigError as error:
        raise SystemExit(f"Nothing was saved:\n  {error}") from None
    sys.stdout.write(f"{keys_left_out(read_environment())}\n")
    return 0


def keys_left_out(environment: Mapping[str, str]) -> str:
    """What was done about AWS's keys, since a block without any leaves runs to the worker's own role."""
    if "AWS_SESSION_TOKEN" in environment:
        return (
            "AWS keys were NOT saved: AWS_SESSION_TOKEN is set, so they expire with their session. Runs with these "
            "blocks use the worker's own role or environment variables."
        )
    if "AWS_SECRET_ACCESS_KEY" in environment:
        return "AWS keys were saved in aws-credentials"
    return "AWS keys were not saved, since none are set. Runs use the worker's own role or environment variables."
