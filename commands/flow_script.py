"""Run a flow as a script, with a flag for every parameter. Exit code 0: success; 1: failed run; 2: invalid flags."""

import argparse
import inspect
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import httpx
from prefect import Flow, tags
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_HOME, temporary_settings

from commands.prefect_settings import raised_in, settings_problem
from commands.startup import end_in_order, exits_with, flush_output
from tasks.alert import alert_of_script
from tasks.errors import AuthError, ConfigError, PipelineError
from tasks.events import TAG
from tasks.library_errors import causes, disk_error, full_disk
from tasks.local_server import is_shared, prefect_api
from tasks.task_options import HEARTBEAT_S
from tasks.text import without_user

# the slowest ones, half a second in total; pyarrow's first array imports pandas
LAZY_IMPORTS = (
    "pandas",
    "fastapi.encoders",
    "prefect_sqlalchemy",
    "sqlalchemy.dialects.postgresql",
    "prefect.task_engine",
    "prefect.utilities.visualization",
)


def main(flow: Flow[..., Any], arguments: Sequence[str] | None = None) -> int:
    """Run `flow` with the command line's flags; returns the exit code.

    The run's own hook sends the alert for a failure; this function sends it if the run never reached Prefect.
    """
    parameters = vars(parser(flow).parse_args(arguments))
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_known_traceback)
        logging.getLogger(name).addFilter(_with_a_page)
    end_in_order()
    with ExitStack() as api:  # the alert also reads its block from Prefect
        try:
            if not PREFECT_API_URL.value():
                import_early()
            api.enter_context(prefect_api())
            # no watch sees a server that ends with this script, and heartbeats make a run end up to a second later
            heartbeat_s = HEARTBEAT_S if is_shared() else None
            with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: heartbeat_s}), tags(TAG):
                flow(**parameters)
        except (Exception, KeyboardInterrupt) as raised:
            error = prefect_problem(raised) or raised
            with suppress(OSError):  # the terminal may be closed
                sys.stderr.write(f"\n{flow.name} {failure_line(error)}\n")
            alert_of_script(flow.name, parameters.get("blocks"), error)
            flush_output()
            return exits_with(1)
    return exits_with(0)


def import_early() -> None:
    """Import what a run would import lazily, while this script's own server is starting."""
    for name in LAZY_IMPORTS:
        with suppress(ImportError):
            import_module(name)


def failure_line(error: BaseException) -> str:
    """How a script ended, for its last line."""
    if isinstance(error, PipelineError):
        return f"failed. {type(error).__name__}: {error}"
    if isinstance(error, KeyboardInterrupt):
        return "was interrupted; uncommitted work was rolled back."
    return f"failed with an unexpected {type(error).__name__}; see the log above."


def prefect_problem(error: BaseException) -> PipelineError | None:
    """What is wrong with Prefect's API, settings or home, if that kept a run from beginning or ending; else None."""
    if isinstance(error, (PipelineError, KeyboardInterrupt)):
        return None
    if problem := settings_problem(error):
        return problem
    found = list(causes(error))
    address = without_user(PREFECT_API_URL.value() or "") if is_shared() else "started by the script"
    for each in found:
        if isinstance(each, httpx.HTTPStatusError) and each.response.status_code in (401, 403):
            return AuthError(
                f"Prefect's API {address} answered {each.response.status_code}. Check PREFECT_API_URL, and "
                "PREFECT_API_KEY or PREFECT_API_AUTH_STRING."
            )
    if any(isinstance(each, UnicodeEncodeError) and raised_in(each, "httpx/") for each in found):
        return ConfigError("PREFECT_API_KEY or PREFECT_API_AUTH_STRING is not all ASCII. Copy it again.")
    if any(isinstance(each, ImportError) and "socks" in str(each).lower() for each in found):
        return ConfigError(
            "ALL_PROXY, HTTPS_PROXY or HTTP_PROXY names a SOCKS proxy, which this installation does not support. Use "
            "an HTTP proxy, or exclude Prefect's address with NO_PROXY."
        )
    if any(isinstance(each, httpx.InvalidURL) or "scheme for proxy" in str(each) for each in found):
        return ConfigError("a proxy's address is malformed. Check ALL_PROXY, HTTPS_PROXY and HTTP_PROXY.")
    if isinstance(error, OSError) and not os.path.exists(os.environ.get("SSL_CERT_FILE", os.devnull)):
        return ConfigError("the CA bundle named in SSL_CERT_FILE does not exist.")
    if disk := next((full_disk(name) for name in map(disk_error, found) if name), None):
        return ConfigError(f"Prefect's home {PREFECT_HOME.value()} or the temporary directory: {disk}")
    if any(isinstance(each, httpx.TransportError) or "Failed to reach API" in str(each) for each in found):
        return ConfigError(f"Prefect's API {address} cannot be reached. Is its server running? Check PREFECT_API_URL.")
    return None


def parser(flow: Flow[..., Any]) -> argparse.ArgumentParser:
    """An argument parser with a flag for each of the flow's parameters, whose annotated types explain them."""
    description = (inspect.getdoc(flow.fn) or "").partition("Args:")[0].strip()
    found = argparse.ArgumentParser(description=description, allow_abbrev=False)
    kinds = get_type_hints(flow.fn, include_extras=True)
    for name, parameter in inspect.signature(flow.fn).parameters.items():
        kind, explained = get_args(kinds[name])
        found.add_argument(
            "--" + name.replace("_", "-"),
            default=parameter.default,
            help=explained.replace("%", "%%"),  # argparse formats its help with %
            **flag(kind),
        )
    return found


def flag(kind: Any) -> dict[str, Any]:
    """What argparse needs to read a parameter of that type."""
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    [kind] = [option for option in get_args(kind) if option is not NoneType] if NoneType in get_args(kind) else [kind]
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if get_origin(kind) is list:
        return {"type": lambda text: [item.strip() for item in text.split(",")], "metavar": "A,B"}
    if get_origin(kind) is dict:
        return {"type": json.loads, "metavar": "JSON"}
    return {"type": str, "metavar": "TEXT"}


def _with_a_page(record: logging.LogRecord) -> bool:
    """Hide the address of a run's page if the run is on this script's own server, which serves no pages."""
    return is_shared() or not record.getMessage().startswith("View at ")


def _without_known_traceback(record: logging.LogRecord) -> bool:
    """Hide the traceback of a PipelineError: the message says what to do, and forty lines of frames would bury it."""
    if record.exc_info and isinstance(record.exc_info[1], PipelineError):
        record.exc_info = None
    return True
