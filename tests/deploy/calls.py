"""The calls that boto3 makes, heard as they are made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.signers
from botocore.client import BaseClient
from botocore.exceptions import ClientError


@dataclass
class Call:
    """One call, and the code of the error that it ended in. A sign-in to RDS is no call: its token stands for one."""

    service: str
    operation: str
    parameters: dict[str, Any]
    error: str | None = None


@contextmanager
def recorded(refuse: Callable[[Call], bool] = lambda call: False) -> Iterator[list[Call]]:
    """Every call of this process's boto3 clients from here on; S3 answers AccessDenied to those that `refuse` names."""
    calls: list[Call] = []
    make_call, make_token = BaseClient._make_api_call, botocore.signers.generate_db_auth_token

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        made = Call(client.meta.service_model.service_name, operation, parameters)
        calls.append(made)
        try:
            if refuse(made):
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, operation)
            return make_call(client, operation, parameters)
        except ClientError as error:
            made.error = error.response["Error"]["Code"]
            raise

    def token(*arguments: Any, **named: Any) -> str:
        made = str(make_token(*arguments, **named))
        query = parse_qs(urlsplit("//" + made).query)
        region = query["X-Amz-Credential"][0].split("/")[2]
        calls.append(Call("rds", query["Action"][0], {"DBUser": query["DBUser"][0], "region": region}))
        return made

    BaseClient._make_api_call, botocore.signers.generate_db_auth_token = call, token
    try:
        yield calls
    finally:
        BaseClient._make_api_call, botocore.signers.generate_db_auth_token = make_call, make_token
