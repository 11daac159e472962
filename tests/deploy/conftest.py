"""The stack in moto, beside the servers that whole flows need."""

from collections.abc import Iterator
from typing import Any

import botocore.signers
import pytest

from sandbox.postgres import USER, rows_of
from sandbox.stack import Sandbox
from sandbox.tls import TlsFront
from tests.deploy.stack import BUCKET, DATABASE_USER, Stack, create
from tests.support.whole_stack import box, clean, in_process

__all__ = ["box", "clean", "in_process"]


@pytest.fixture(scope="session")
def stack(box: Sandbox) -> Stack:
    """The template's stack, with a sign-in to the database by IAM."""
    return create(box.aws, "department-members")


@pytest.fixture
def in_stack(stack: Stack, in_process: Sandbox, by_iam: None, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The flows in this process, with the stack's bucket, empty, its topic, and no password for the database."""
    for entry in in_process.aws.s3.list_object_versions(Bucket=BUCKET).get("Versions", []):
        in_process.aws.s3.delete_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])
    monkeypatch.setenv("S3_BUCKET_NAME", stack.outputs["BucketName"])
    monkeypatch.setenv("SNS_TOPIC_ARN", stack.outputs["AlertTopicArn"])
    return in_process


@pytest.fixture
def by_iam(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The database takes each token that is made, as RDS would, over TLS."""
    make = botocore.signers.generate_db_auth_token

    def as_admin(statement: str, *parameters: str) -> None:
        rows_of(in_process.postgres.connect(user="postgres"), statement, parameters)

    def made_known(*arguments: Any, **named: Any) -> str:
        token = str(make(*arguments, **named))
        as_admin(f"ALTER ROLE {DATABASE_USER} PASSWORD %s", token)
        return token

    as_admin(f"CREATE ROLE {DATABASE_USER} LOGIN IN ROLE {USER}")
    with TlsFront(in_process.postgres.port) as front:
        monkeypatch.setattr(botocore.signers, "generate_db_auth_token", made_known)
        monkeypatch.setenv("BUSINESS_TRACKING_HOST", "localhost")
        monkeypatch.setenv("BUSINESS_TRACKING_PORT", str(front.port))
        monkeypatch.setenv("BUSINESS_TRACKING_USER", DATABASE_USER)
        monkeypatch.setenv("BUSINESS_TRACKING_SSLMODE", "verify-full")
        monkeypatch.setenv("PGSSLROOTCERT", str(front.root_certificate))
        monkeypatch.delenv("BUSINESS_TRACKING_PASSWORD")
        yield
    as_admin(f"DROP OWNED BY {DATABASE_USER}; DROP ROLE {DATABASE_USER}")
