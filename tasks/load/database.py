"""Connections to the database, and the SQL that goes over them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import psycopg2
from botocore.exceptions import BotoCoreError
from psycopg2.extensions import cursor as Cursor
from sqlalchemy import Engine, event
from sqlalchemy.pool import NullPool

from tasks.credentials import database
from tasks.errors import ConfigError, LoadFailed
from tasks.load.database_errors import database_errors, is_about_a_row

LOCK_TIMEOUT = "SET LOCAL lock_timeout = '60s'"
SQL_FOLDER = Path(__file__).parent / "sql"
# No offset means UTC. How a value is read or written, and so whether two are the same, must not depend on what
# the server, the database, the role or PGOPTIONS set.
# With work_mem's default of 4 MB, comparing 100,000 rows takes 1.7 times as long.
SESSION = (
    # Under repeatable read, a load that waited for another would not see what that one has done.
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; "
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; "
    "SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL xmloption = 'content'; "
    "SELECT set_config('work_mem', '64MB', true) WHERE pg_size_bytes(current_setting('work_mem')) < 64 << 20; "
    "SET LOCAL array_nulls = on; SET LOCAL standard_conforming_strings = on; " + LOCK_TIMEOUT
)


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
            "BUSINESS_TRACKING_PASSWORD, or give the instance a role with rds-db:connect and set AWS_DEFAULT_REGION."
        ) from None


@contextmanager
def transaction(blocks: str | None) -> Iterator[Cursor]:
    """One transaction: committed at the end, rolled back on any error; its connection always closed."""
    with database_errors():
        connection: Any = open_engine(blocks).raw_connection()
        try:
            # UTF-8 whatever PGCLIENTENCODING, the role or the database says
            connection.set_client_encoding("UTF8")
            with connection.cursor() as cursor:
                cursor.execute(SESSION)
                yield cursor
            connection.commit()
        except BaseException:
            connection.invalidate()  # closed at once, which rolls back; asking a dead session to would fail again
            raise
        connection.close()


# Nested savepoints share one name: PostgreSQL takes the newest, and once that is released, the one before.
UNDO = "ROLLBACK TO SAVEPOINT step; RELEASE SAVEPOINT step"


class RowError(Exception):
    """PostgreSQL refused a row; `error` says which constraint, cast or trigger did."""

    def __init__(self, error: psycopg2.Error) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def savepoint(cursor: Cursor) -> Iterator[None]:
    """All of the statements inside, or none of them if they end in an error.

    Released in the end either way: each one left open would slow down all that follow.

    Raises:
        RowError: a row is to blame. What else the database raises is raised as it is, once the statements are undone.
    """
    cursor.execute("SAVEPOINT step")
    try:
        yield
    except psycopg2.Error as error:
        if is_about_a_row(error):
            cursor.execute(UNDO)
            raise RowError(error) from None
        with suppress(psycopg2.Error):  # a session that is dead has nothing left to undo
            cursor.execute(UNDO)
        raise
    except Exception:
        cursor.execute(UNDO)
        raise
    cursor.execute("RELEASE SAVEPOINT step")


@cache
def statement(name: str) -> str:
    """The text of one file in tasks/load/sql/."""
    return (SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def quoted(*names: str) -> str:
    """A quoted identifier, qualified where several names are given."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A quoted SQL string."""
    # SESSION sets standard_conforming_strings, so a backslash escapes nothing
    return "'" + text.replace("'", "''") + "'"


def execute(cursor: Cursor, name: str, data: dict[str, Any] | None = None, /, **parts: str) -> None:
    """Run tasks/load/sql/NAME.sql with its {parts}, which are SQL, and its %(names)s, which are data."""
    text = statement(name).format(**{part: text.replace("%", "%%") for part, text in parts.items()})
    # parameters on every call, so that psycopg2 always turns %% back into %
    cursor.execute(text, {"": None, **(data or {})})


def one_row(cursor: Cursor) -> tuple[Any, ...]:
    """The single row of a statement that always gives one."""
    row = cursor.fetchone()
    if row is None:
        raise LoadFailed(
            "expected one row from the database, found none. Nothing was changed. Please report this as a bug."
        )
    return tuple(row)
