"""Connections to the database, and what its errors mean."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import psycopg2
from botocore.exceptions import BotoCoreError
from psycopg2.extensions import cursor as Cursor
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from blocks.resolve import database
from tasks.errors import AuthError, ConfigError, LoadFailed, PipelineError, SchemaMismatch, Unreachable

SQL_FOLDER = Path(__file__).parent / "sql"
# No offset means UTC; how a date is read must not depend on the server's or the role's settings.
SESSION = "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL lock_timeout = '60s'"

PASSING_CLASSES = {"08", "40", "53", "57", "58"}  # connection, rollback, resources, shutdown, system
LOCKED, READ_ONLY = "55P03", "25006"  # by a lock timeout; as a standby is until it is promoted
SERVER_CLASSES = {*PASSING_CLASSES, "0A", "0B", "25", "28", "2D", "3D", "3F", "42", "55", "F0", "HV", "XX"}
"""What the statement or the server did wrong. Anything else that PostgreSQL says is about a row."""


def open_engine(blocks: str | None) -> Engine:
    """An engine of the block set or the environment that keeps no connection open between uses.

    Without a password, each connection signs in by IAM.
    """
    engine: Engine = database(blocks).get_engine(poolclass=NullPool)
    if engine.url.password is None:
        event.listen(engine, "do_connect", sign_in_by_iam)
    return engine


def sign_in_by_iam(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
    """Give one connection a fresh token as its password; RDS takes it for 15 minutes.

    Raises:
        ConfigError: there are no AWS credentials, or no region, to sign it with.
    """
    try:
        parameters["password"] = (
            boto3.Session()
            .client("rds")
            .generate_db_auth_token(
                DBHostname=parameters["host"], Port=parameters["port"], DBUsername=parameters["user"]
            )
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"no password is set for the database, and no IAM token could be made ({type(error).__name__}). Set "
            "BUSINESS_TRACKING_PASSWORD; or give the instance a role with rds-db:connect, and AWS_DEFAULT_REGION."
        ) from None


@contextmanager
def transaction(blocks: str | None) -> Iterator[Cursor]:
    """One transaction: committed at the end, rolled back on any error; its connection always closed."""
    with database_errors():
        connection: Any = open_engine(blocks).raw_connection()
        try:
            connection.set_client_encoding("UTF8")
            with connection.cursor() as cursor:
                cursor.execute(SESSION)
                yield cursor
            connection.commit()
        except BaseException:
            connection.invalidate()  # closed at once, which rolls back; asking a dead session to would fail again
            raise
        connection.close()


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what psycopg2 and SQLAlchemy raise into the error tree."""
    try:
        yield
    except DBAPIError as error:
        raise explained(error.orig if isinstance(error.orig, psycopg2.Error) else error) from None
    except psycopg2.Error as error:
        raise explained(error) from None


def explained(error: BaseException) -> PipelineError:
    """The error of our tree that one of PostgreSQL's means. Its own text may hold values, so it stays out."""
    state = getattr(error, "pgcode", None)
    if state is None:
        return _not_connected(str(error))
    name = type(error).__name__
    if state.startswith("28"):
        return AuthError(_SIGN_IN)
    if state == "42501":
        return AuthError(
            f"the database refused a right ({name}: {without_values(error)}). "
            "A load needs SELECT, INSERT and UPDATE on the table (DELETE for on_departure delete), SELECT and INSERT "
            "on lms_loads (CREATE on the schema, where it does not exist yet) and TEMPORARY on the database."
        )
    if state.startswith("3D"):
        return ConfigError("there is no such database. Check BUSINESS_TRACKING_DBNAME.")
    if state == LOCKED:
        return Unreachable(
            f"another session held a lock on the table for a minute ({name}, SQLSTATE {state}). Nothing was changed. "
            "In the database, pg_blocking_pids tells which it is; run again when it has ended."
        )
    if state[:2] in PASSING_CLASSES or state == READ_ONLY:
        return Unreachable(f"the database ended the work ({name}, SQLSTATE {state}). Nothing was changed; run again.")
    if state.startswith("42"):
        return SchemaMismatch(f"the table does not fit the statement ({name}: {without_values(error)}).")
    return LoadFailed(f"the database refused the work ({name}, SQLSTATE {state}). Nothing was changed.")


_SIGN_IN = (
    "the database refused the sign-in. Check BUSINESS_TRACKING_USER and BUSINESS_TRACKING_PASSWORD "
    "(or the sqlalchemy-connector block), and the server's pg_hba.conf."
)


def _not_connected(text: str) -> PipelineError:
    """What libpq says before there is a session has no SQLSTATE, only words."""
    if "password authentication failed" in text or "no password supplied" in text or "no pg_hba.conf" in text:
        return AuthError(_SIGN_IN)
    if "does not exist" in text and "database" in text:
        return ConfigError("there is no such database. Check BUSINESS_TRACKING_DBNAME.")
    if "certificate" in text or "SSL" in text and "not support SSL" in text:
        return ConfigError(
            "the database's TLS is not what BUSINESS_TRACKING_SSLMODE asks for. Check it, and PGSSLROOTCERT."
        )
    if "could not translate host name" in text:
        return ConfigError("the database's host has no address. Check BUSINESS_TRACKING_HOST.")
    return Unreachable(
        "the database is out of reach: no connection, or it was cut. Nothing was changed; check "
        "BUSINESS_TRACKING_HOST and BUSINESS_TRACKING_PORT if it stays so, and run again."
    )


def is_about_a_row(error: psycopg2.Error) -> bool:
    """Whether a row is to blame: a cast, a constraint, a trigger; not the connection, rights or statement."""
    return error.pgcode is not None and error.pgcode[:2] not in SERVER_CLASSES


def without_values(error: BaseException) -> str:
    """PostgreSQL's own sentence, with what may be a person's data left out.

    >>> class E(Exception): diag = type("D", (), {"message_primary": 'value "77777" is out of range for type smallint'})
    >>> without_values(E())
    'value … is out of range for type smallint'
    """
    diag: Any = getattr(error, "diag", None)
    state = getattr(error, "pgcode", None) or "22"
    message = str(getattr(diag, "message_primary", None) or type(error).__name__)
    if state.startswith(("23", "42")):
        return message
    if not state.startswith("22"):
        return f"refused by a trigger or function of the table (SQLSTATE {state})"
    return re.sub(r':? "(?:[^"]|"")*"', " …", message).removesuffix(" …")


@cache
def statement(name: str) -> str:
    """The text of one file in tasks/sql/."""
    return (SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def quoted(*names: str) -> str:
    """A quoted identifier, qualified where several names are given."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def execute(cursor: Cursor, name: str, data: dict[str, Any] | None = None, /, **parts: str) -> None:
    """Run tasks/sql/NAME.sql with its {parts}, which are SQL, and its %(names)s, which are data."""
    text = statement(name).format(**{part: text.replace("%", "%%") for part, text in parts.items()})
    cursor.execute(text, {"": None, **(data or {})})


def one_row(cursor: Cursor) -> tuple[Any, ...]:
    """The single row of a statement that always gives one."""
    row = cursor.fetchone()
    if row is None:
        raise LoadFailed("the database gave no row where it always gives one. Nothing was changed.")
    return tuple(row)
