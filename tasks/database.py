"""Connections to the database, and what its errors mean."""

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
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from blocks.resolve import database
from tasks.errors import AuthError, ConfigError, LoadFailed, PipelineError, SchemaMismatch, Unreachable

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
    "SET LOCAL array_nulls = on; SET LOCAL standard_conforming_strings = on; SET LOCAL lock_timeout = '60s'"
)
TEMP_BUFFERS = "SET LOCAL temp_buffers = '128MB'"
"""Keeps the staged rows of some 100,000 members in memory, which saves an eighth of the load's time. The server refuses
it in a session that has had temporary tables before, such as one that a connection pooler lends."""

LOCKED, READ_ONLY, DENIED = "55P03", "25006", "42501"  # 25006: a standby, until it is promoted
TRANSIENT = {"40001", "40P01", "53200", "53300", "55006", "57P01", "57P02", "57P03", "58000", "58030", READ_ONLY}
"""With class 08, what may be over in some seconds."""
SERVER_CLASSES = {
    *("08", "0A", "0B", "25", "28", "2D", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0", "HV", "XX")
}
"""What the statement or the server did wrong. Anything else that PostgreSQL says is about a row."""
FUNCTION_CLASSES = {"0A", "42", "55"}
"""Of these, what a trigger of the table does wrong, for some rows perhaps."""
SHOWN_CLASSES = {"0A", "25", "53", "54", "55", "57"}
"""Errors whose text is PostgreSQL's own and holds no value of a row, unless a function raised them."""
WHAT_TO_DO = {
    "57014": "If it was a timeout, raise it for the loader: ALTER ROLE ... SET statement_timeout = '1h'.",
    "25P03": "Raise idle_in_transaction_session_timeout for the loader's role.",
    "25P04": "Raise transaction_timeout for the loader's role.",
    "53100": "Free disk space on the database server.",
    "53400": "Raise the limit that the message names, for the loader's role.",
    "0A000": "Change the table so that INSERT ... ON CONFLICT DO UPDATE works on it.",
}


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
                with suppress(RowError), savepoint(cursor):
                    cursor.execute(TEMP_BUFFERS)
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
    """The error of our tree that one of PostgreSQL's means. Its own text may hold values, so most of it stays out."""
    state = getattr(error, "pgcode", None)
    if state is None:
        return _not_connected(str(error))
    name = type(error).__name__
    if state.startswith("28"):
        return AuthError(_SIGN_IN)
    if state == DENIED:
        return AuthError(
            f"the database denied a right ({name}: {own_words(error)}). "
            "A load needs SELECT, INSERT and UPDATE on the table (DELETE for on_departure delete), SELECT and INSERT "
            "on lms_loads (CREATE on the schema, where it does not exist yet) and TEMPORARY on the database."
        )
    if state.startswith("3D"):
        return ConfigError("there is no such database. Check BUSINESS_TRACKING_DBNAME.")
    if state == LOCKED:
        return Unreachable(
            f"another session held a lock on the table for too long ({name}, SQLSTATE {state}). Nothing was changed. "
            "In the database, pg_blocking_pids tells which it is; run again when it has ended."
        )
    if state.startswith("08") or state in TRANSIENT:
        return Unreachable(f"the database ended the work ({name}, SQLSTATE {state}). Nothing was changed; run again.")
    if state.startswith("42"):
        return SchemaMismatch(f"the table does not fit the statement (SQLSTATE {state}: {own_words(error)}).")
    is_ours = raised_by_function(error) or is_in_function(error) and state[:2] != "57"  # a timeout's words hold nothing
    shown = state[:2] in SHOWN_CLASSES and not is_ours
    said = f": {error.diag.message_primary}" if shown and isinstance(error, psycopg2.Error) else ""
    return LoadFailed(
        f"the database refused the work ({name}, SQLSTATE {state}{said}). Nothing was changed. "
        f"{WHAT_TO_DO.get(state, 'Look into the server log for more.')}"
    )


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
    """Whether a row is to blame: a cast, a constraint, a trigger, a policy; not the connection, rights or statement."""
    if error.pgcode is None:
        return False
    if raised_by_function(error) or is_row_policy(error) or error.pgcode[:2] not in SERVER_CLASSES:
        return True
    return error.pgcode[:2] in FUNCTION_CLASSES and error.pgcode not in TRANSIENT | {LOCKED} and is_in_function(error)


def raised_by_function(error: BaseException) -> bool:
    """Whether PL/pgSQL's RAISE made the error: then its SQLSTATE, text and names are whatever its author wrote."""
    diag: Any = getattr(error, "diag", None)
    return getattr(diag, "source_function", None) == "exec_stmt_raise"


def is_in_function(error: BaseException) -> bool:
    """Whether the error arose in a function or trigger of the table, whose words may hold a value of the row."""
    diag: Any = getattr(error, "diag", None)
    return raised_by_function(error) or not (getattr(diag, "context", None) or "COPY ").startswith("COPY ")


def is_row_policy(error: psycopg2.Error) -> bool:
    """Whether row level security refused a row; a missing right has the same SQLSTATE."""
    return error.pgcode == DENIED and error.diag.source_function == "ExecWithCheckOptions"


def own_words(error: BaseException) -> str:
    """PostgreSQL's own sentence, unless it comes from a function of the table, where it may hold a value."""
    diag: Any = getattr(error, "diag", None)
    if diag is None or is_in_function(error):
        return "in a trigger or function of the table"
    return str(diag.message_primary)


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
        RowError: a row is to blame. What else the database raises goes on, and ends the transaction.
    """
    cursor.execute("SAVEPOINT step")
    try:
        yield
    except psycopg2.Error as error:
        if not is_about_a_row(error):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT step; RELEASE SAVEPOINT step")
        raise RowError(error) from None
    except Exception:
        cursor.execute("ROLLBACK TO SAVEPOINT step; RELEASE SAVEPOINT step")
        raise
    cursor.execute("RELEASE SAVEPOINT step")


@cache
def statement(name: str) -> str:
    """The text of one file in tasks/sql/."""
    return (SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def quoted(*names: str) -> str:
    """A quoted identifier, qualified where several names are given."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"


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
