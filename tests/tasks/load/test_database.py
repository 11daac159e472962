"""Signing in to the database by IAM: a fresh token for each connection, over TLS alone."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from blocks.database import database_from
from blocks.environment import read_environment
from sandbox.tls import TlsFront
from tasks.errors import AuthError, ConfigError
from tasks.load.database import one_row, transaction
from tests.conftest import Database


@pytest.fixture
def by_iam(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsFront]:
    """A server behind TLS whose user's password is the token that AWS's keys sign."""
    with TlsFront(int(database.variables["BUSINESS_TRACKING_PORT"])) as front:
        for name, value in {
            "BUSINESS_TRACKING_HOST": "localhost",
            "BUSINESS_TRACKING_PORT": str(front.port),
            "BUSINESS_TRACKING_USER": "by_iam",
            "BUSINESS_TRACKING_SSLMODE": "verify-full",
            "PGSSLROOTCERT": str(front.root_certificate),
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("BUSINESS_TRACKING_PASSWORD")
        yield front


def accept(database: Database, token: str) -> None:
    """The server takes that token for the user's password, as RDS would."""
    admin = Database({**database.variables, "BUSINESS_TRACKING_USER": "postgres"}, None)
    admin.query("DROP ROLE IF EXISTS by_iam; CREATE ROLE by_iam LOGIN PASSWORD %s", (token,))


def test_each_connection_signs_in_with_a_token_of_its_own(
    by_iam: TlsFront, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: list[str] = []
    make = boto3.Session().client("rds").generate_db_auth_token

    class Session:
        def client(self, service: str) -> "Session":
            assert service == "rds"
            return self

        def generate_db_auth_token(self, **about: str) -> str:
            tokens.append(make(**about))
            accept(database, tokens[-1])
            return tokens[-1]

    monkeypatch.setattr("tasks.load.database.boto3.Session", Session)
    for _ in range(2):
        with transaction(None) as cursor:
            cursor.execute("SELECT current_user")
            assert one_row(cursor) == ("by_iam",)
    assert len(tokens) == 2
    query = parse_qs(urlsplit("//" + tokens[0]).query)
    assert urlsplit("//" + tokens[0]).netloc == f"localhost:{by_iam.port}"
    assert (query["Action"], query["DBUser"], query["X-Amz-Expires"]) == (["connect"], ["by_iam"], ["900"])
    assert "AKIAEXAMPLE/" in query["X-Amz-Credential"][0]


def test_a_token_that_the_server_refuses_is_a_refused_sign_in(by_iam: TlsFront, database: Database) -> None:
    accept(database, "another")
    with pytest.raises(AuthError, match="refused the sign-in"), transaction(None):
        pass


@pytest.mark.parametrize("missing", ["AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"])
def test_without_keys_or_region_the_error_says_so(
    by_iam: TlsFront, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(missing)
    with pytest.raises(ConfigError, match="no IAM token could be made"), transaction(None):
        pass


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
def test_a_token_goes_over_tls_alone(by_iam: TlsFront, monkeypatch: pytest.MonkeyPatch, sslmode: str) -> None:
    monkeypatch.setenv("BUSINESS_TRACKING_SSLMODE", sslmode)
    problems: list[str] = []
    assert database_from(read_environment(), problems) is None
    assert "needs TLS" in problems[0]


def test_tls_is_the_default_without_a_password(by_iam: TlsFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUSINESS_TRACKING_SSLMODE")
    block = database_from(read_environment(), [])
    assert block is not None
    assert block.get_engine().url.query["sslmode"] == "require"
