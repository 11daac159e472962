"""A flow as a script: every parameter a flag. Exit 0 on success, 1 on a failed run, 2 on bad flags."""

import argparse
import inspect
import json
import logging
import re
import signal
import sys
from collections.abc import Sequence
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from prefect import Flow, tags
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from tasks.errors import PipelineError
from tasks.events import TAG
from tasks.policy import HEARTBEAT_S, LOCAL_SERVER


def main(flow: Flow[..., Any], arguments: Sequence[str] | None = None) -> int:
    """Run `flow` with the command line's flags; returns the exit code."""
    parameters = vars(parser(flow).parse_args(arguments))
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_known_traceback)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a run told to stop cleans up and tells of it
    try:
        with temporary_settings({**LOCAL_SERVER, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: HEARTBEAT_S}), tags(TAG):
            flow(**parameters)
    except PipelineError as error:
        sys.stderr.write(f"\n{flow.name} failed. {type(error).__name__}: {error}\n")
        return 1
    except Exception as error:
        sys.stderr.write(f"\n{flow.name} failed by an unexpected {type(error).__name__}; see the log above.\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{flow.name} was interrupted; what was not committed is undone.\n")
        return 1
    return 0


def parser(flow: Flow[..., Any]) -> argparse.ArgumentParser:
    """An argument parser with a flag for each of the flow's parameters, explained by its docstring."""
    description, _, explained = (inspect.getdoc(flow.fn) or "").partition("Args:")
    found = argparse.ArgumentParser(description=description.strip(), allow_abbrev=False)
    helps = dict(re.findall(r"^\s*(\w+): (.+)$", explained, re.MULTILINE))
    kinds = get_type_hints(flow.fn)
    for name, parameter in inspect.signature(flow.fn).parameters.items():
        found.add_argument(
            "--" + name.replace("_", "-"),
            default=parameter.default,
            help=helps[name].replace("%", "%%"),
            **flag(kinds[name]),
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


def _without_known_traceback(record: logging.LogRecord) -> bool:
    """An error of our own tree says what to do; forty lines of frames would bury it."""
    if record.exc_info and isinstance(record.exc_info[1], PipelineError):
        record.exc_info = None
    return True
