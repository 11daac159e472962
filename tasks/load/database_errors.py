"""What database errors mean: which concern one row, which are temporary, and what to do about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy.exc import DBAPIError

from tasks.errors import AuthError, ConfigError, LoadFailed, PipelineError, SchemaMismatch, Unreachable

LOCKED, READ_ONLY, DENIED = "55P03", "25006", "42501"  # 25006: a standby, until it is promoted
# Serialization failure, deadlock, out of memory, too many connections, object in use, shutdown (three kinds), system
# and I/O errors. Not 57014: a statement_timeout would only be met again.
TRANSIENT = {"40001", "40P01", "53200", "53300", "55006", "57P01", "57P02", "57P03", "58000", "58030", READ_ONLY}
"""With class 08, errors that may pass within seconds."""
# https://www.postgresql.org/docs/current/errcodes-appendix.html
SERVER_CLASSES = {
    *("08", "0A", "0B", "25", "28", "2D", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0", "HV", "XX")
}
"""What the statement or the server did wrong. Anything else that PostgreSQL says is about a row."""
FUNCTION_CLASSES = {"0A", "42", "55"}
"""Of these, what a trigger of the table does wrong, for some rows perhaps."""
SHOWN_CLASSES = {"0A", "25", "53", "54", "55", "57"}
"""Errors whose text is PostgreSQL's own and holds no value of a row, unless a function raised them."""
WHAT_TO_DO = {
    "57014": "If it was a timeout, raise it for the loader's role: ALTER ROLE ... SET statement_timeout = '1h'.",
    "25P03": "Raise idle_in_transaction_session_timeout for the loader's role.",
    "25P04": "Raise transaction_timeout for the loader's role.",
    "53100": "Free disk space on the database server.",
    "53400": "Raise the limit named in the message for the loader's role.",
    "0A000": "Change the table so that INSERT ... ON CONFLICT DO UPDATE works on it.",
}


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what psycopg2 and SQLAlchemy raise into the error tree."""
    try:
        yield
    except DBAPIError as error:
        raise pipeline_error(error.orig if isinstance(error.orig, psycopg2.Error) else error) from None
    except psycopg2.Error as error:
        raise pipeline_error(error) from None


def pipeline_error(error: BaseException) -> PipelineError:
    """The error of our tree that one of PostgreSQL's means. Its own text may hold values, so most of it stays out."""
    state = getattr(error, "pgcode", None)
    if state is None:
        return _not_connected(str(error))
    name = type(error).__name__
    if state.startswith("28"):
        return AuthError(_SIGN_IN)
    if state == DENIED:
        return AuthError(
            f"the database denied a permission ({name}: {server_message(error)}). "
            "A load needs SELECT, INSERT and UPDATE on the table (DELETE for on_departure delete), SELECT and INSERT "
            "on lms_loads (CREATE on the schema if it does not exist yet) and TEMPORARY on the database."
        )
    if state.startswith("3D"):
        return ConfigError("there is no such database. Check BUSINESS_TRACKING_DBNAME.")
    if state == LOCKED:
        return Unreachable(
            f"another session held a lock on the table for too long ({name}, SQLSTATE {state}). Nothing was changed. "
            "In the database, pg_blocking_pids shows which session it is; run again when it has ended."
        )
    if state.startswith("08") or state in TRANSIENT:
        return Unreachable(f"the database aborted the work ({name}, SQLSTATE {state}). Nothing was changed; run again.")
    if state.startswith("42"):
        return SchemaMismatch(
            f"the table does not match what the load expects (SQLSTATE {state}: {server_message(error)}). Nothing was "
            "changed; correct the table."
        )
    is_timeout = state[:2] == "57" and not raised_by_function(error)  # its words hold nothing, wherever it arose
    shown = is_timeout or state[:2] in SHOWN_CLASSES and not is_in_function(error)
    said = f": {error.diag.message_primary}" if shown and isinstance(error, psycopg2.Error) else ""
    return LoadFailed(
        f"the database refused the work ({name}, SQLSTATE {state}{said}). Nothing was changed. "
        f"{WHAT_TO_DO.get(state, 'See the server log for details.')}"
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
            "the database's TLS does not meet BUSINESS_TRACKING_SSLMODE. Check this setting and PGSSLROOTCERT."
        )
    if "could not translate host name" in text:
        return ConfigError("the database's host name cannot be resolved. Check BUSINESS_TRACKING_HOST.")
    return Unreachable(
        "the database cannot be reached, or the connection was lost. Nothing was changed; run again, and if this "
        "persists, check BUSINESS_TRACKING_HOST and BUSINESS_TRACKING_PORT."
    )


def is_about_a_row(error: psycopg2.Error) -> bool:
    """Whether a row is to blame: a cast, a constraint, a trigger, a policy; not connection, permission or SQL."""
    if error.pgcode is None:
        return False
    if raised_by_function(error) or is_row_policy(error) or error.pgcode[:2] not in SERVER_CLASSES:
        return True
    return error.pgcode[:2] in FUNCTION_CLASSES and error.pgcode not in TRANSIENT | {LOCKED} and is_in_function(error)


def raised_by_function(error: BaseException) -> bool:
    """Whether PL/pgSQL's RAISE made the error: then its SQLSTATE, text and names are whatever its author wrote."""
    diag: Any = getattr(error, "diag", None)
    # the C function of PL/pgSQL that carries out RAISE
    return getattr(diag, "source_function", None) == "exec_stmt_raise"


def is_in_function(error: BaseException) -> bool:
    """Whether the error arose in a function or trigger of the table, whose words may hold a value of the row."""
    diag: Any = getattr(error, "diag", None)
    return raised_by_function(error) or is_of_function(getattr(diag, "context", None))


def is_of_function(context: str | None) -> bool:
    """Whether an error's context is that of a function, and not of the line that COPY has reached.

    The server's language decides how the command and its table are put together: see `tasks.load.staging.COPY_CONTEXT`.

    >>> is_of_function("COPY staging, line 3, column c7: ..."), is_of_function("stagingのCOPY、3行目")
    (False, False)
    >>> is_of_function("PL/pgSQL function f() line 3 at RAISE\\nCOPY staging, line 3"), is_of_function(None)
    (True, False)
    """
    innermost = (context or "").partition("\n")[0]
    return bool(innermost) and not ("COPY" in innermost and "staging" in innermost)


def is_row_policy(error: psycopg2.Error) -> bool:
    """Whether row level security refused a row; a missing permission has the same SQLSTATE."""
    # the server's C function that applies WITH CHECK; the only sign that tells a policy from a permission
    return error.pgcode == DENIED and error.diag.source_function == "ExecWithCheckOptions"


def server_message(error: BaseException) -> str:
    """PostgreSQL's own sentence, unless it comes from a function of the table, where it may hold a value."""
    diag: Any = getattr(error, "diag", None)
    if diag is None or is_in_function(error):
        return "in a trigger or function of the table"
    return str(diag.message_primary)
