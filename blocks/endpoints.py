"""Where the environment, or a profile, says that S3 and SNS are, each by its own name: what a saved block must keep."""

import boto3
from botocore.config import Config

from blocks.alerts import AlertTopic


def s3_endpoint() -> str | None:
    """Where boto3 finds S3 by the environment or a profile, if that is not AWS's own address."""
    session = boto3.Session()
    # any region will do to see whether the address is AWS's own
    region = session.region_name or "us-east-1"
    usual = Config(ignore_configured_endpoint_urls=True)
    found, own = (
        session.client("s3", region_name=region, config=config).meta.endpoint_url for config in (Config(), usual)
    )
    return None if found == own else str(found)


def sns_endpoint(topic: AlertTopic) -> str | None:
    """Where boto3 finds SNS, if that is not AWS's own address or S3 has another than AWS's: a saved block says both."""
    found, own = topic.client().meta.endpoint_url, topic.client(Config(ignore_configured_endpoint_urls=True))
    if found == own.meta.endpoint_url and s3_endpoint() is None:
        return None
    return str(found)
