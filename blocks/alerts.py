"""Where failed runs are published, as a Prefect block."""

import re
from typing import Any, Literal

from botocore.config import Config
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError
from prefect.blocks.core import Block
from prefect_aws import AwsCredentials
from pydantic import Field, field_validator

TOPIC_ARN = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_-]+")
FIFO = ".fifo"
FORMATS = ("text", "chat")
QUICK = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1})  # a hook holds up the exit


class AlertTopic(Block):
    """One SNS topic, the credentials that may publish to it, and the form its subscribers can show."""

    _block_type_name = "Alert Topic"
    _block_type_slug = "alert-topic"
    _description = "The SNS topic that gets one message per failed run."

    topic_arn: str = Field(title="Topic ARN", description="arn:aws:sns:REGION:ACCOUNT:NAME")
    credentials: AwsCredentials = Field(default_factory=AwsCredentials)
    alert_format: Literal["text", "chat"] = Field(
        default="text", description="text for e-mail; chat for Slack and Teams through Amazon Q Developer."
    )
    endpoint_url: str | None = Field(
        default=None, description="The SNS endpoint, if it differs from the one in the credentials."
    )

    @field_validator("topic_arn")
    @classmethod
    def _is_a_topic(cls, arn: str) -> str:
        if TOPIC_ARN.fullmatch(arn.removesuffix(FIFO)) and arn.endswith(FIFO):
            raise ValueError("is a FIFO topic, which e-mail and chat cannot subscribe to; use a standard topic")
        if not TOPIC_ARN.fullmatch(arn):
            raise ValueError("is not a topic ARN like arn:aws:sns:eu-west-1:123456789012:alerts")
        return arn

    def publish(self, subject: str, message: str) -> None:
        """Publish one message, which is in `alert_format` already; raises what boto3 raises.

        Repeated once where SNS surely has not taken it; not after a read timeout, since it may have.
        """
        client = self.client()
        for tries_left in (1, 0):
            try:
                client.publish(TopicArn=self.topic_arn, Subject=subject, Message=message)
                return
            except (EndpointConnectionError, ConnectTimeoutError, ClientError) as error:
                refused = isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
                if refused or not tries_left:
                    raise

    def client(self, config: Config | None = None) -> Any:
        """A boto3 client for the topic's region."""
        match = TOPIC_ARN.fullmatch(self.topic_arn)
        session = self.credentials.get_boto3_session()
        parameters = self.credentials.aws_client_parameters.get_params_override()
        parameters["config"] = QUICK.merge(parameters.get("config") or Config()).merge(config or Config())
        if self.endpoint_url:
            parameters["endpoint_url"] = self.endpoint_url
        # the topic's own region: SNS knows it in no other
        return session.client("sns", **{**parameters, "region_name": match["region"] if match else None})
