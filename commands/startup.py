"""Runs before a script imports Prefect: reports, and alerts on, anything that would break that import.

Imports nothing from Prefect, which reads `.env` and its home directory on import.
"""

import atexit
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from commands.prefect_settings import settings_problem
from tasks.chat import in_format
from tasks.errors import ConfigError, PipelineError
from tasks.local_server import start_early, stop_own
from tasks.text import subject_line


def begin(script: str) -> None:
    """Make a script that fails before its run starts exit with code 1, a plain last line and an alert."""
    name = Path(script).stem.replace("_", "-")

    def failed(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        exits_with(1)
        stop_own()  # so that nothing it writes comes after the last line
        error = settings_problem(error) or error
        kind, ours = type(error), isinstance(error, PipelineError)
        if not ours and kind is not KeyboardInterrupt:
            sys.__excepthook__(kind, error, at)
        what = str(error) if ours else f"An unexpected {kind.__name__} before the run started; see the script's output."
        say(f"\n{name} failed. {kind.__name__}: {what}")
        publish(subject_line(f"{name} failed ({kind.__name__})"), body(name, kind.__name__, what, ours=ours))
        flush_output()
        if kind is KeyboardInterrupt:
            os._exit(1)  # Python would end itself with a signal, and so with another exit code

    sys.excepthook = failed
    open_standard_files()
    # registered first, so it runs last: other code may still write something while Python exits
    atexit.register(exit_at_once)
    end_in_order()
    check_env_file(Path.cwd() / ".env")
    if not {"-h", "--help"}.intersection(sys.argv):
        start_early()


def end_in_order() -> None:
    """Let a run clean up and send its alert when it is stopped or its terminal closes; ignore further signals."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heeded = [number for name in names if signal.getsignal(number := getattr(signal, name)) != signal.SIG_IGN]

    def interrupt(*_: object) -> None:
        for number in heeded:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in heeded:
        signal.signal(number, interrupt)


def open_standard_files() -> None:
    """Open stdin, stdout and stderr on /dev/null if they are closed; otherwise other files would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def flush_output() -> None:
    """Write out what is buffered; if the terminal is gone, to /dev/null, since Python would otherwise exit with 120."""
    for stream in (each for each in (sys.stdout, sys.stderr) if each is not None):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


_exit_codes: list[int] = []


def exits_with(code: int) -> int:
    """Record the exit code for `exit_at_once`: of several, the highest counts."""
    _exit_codes.append(code)
    return code


def exit_at_once() -> None:
    """Flush, then exit at once if a code was recorded: freeing every object would take most of a second."""
    logging.shutdown()
    flush_output()
    if _exit_codes:
        os._exit(max(_exit_codes))


def check_env_file(path: Path) -> None:
    """Raise ConfigError for a `.env` that Prefect's own settings could not read."""
    try:
        if path.exists() and "\0" in path.read_text(encoding="utf-8"):
            raise ValueError("a null byte")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read ({type(error).__name__}). Save it as UTF-8 and make it readable by this user."
        ) from None


def body(name: str, kind: str, what: str, *, ours: bool) -> str:
    """The message."""
    lines = [f"Flow: {name}", "Run:  a script that failed before its run started", "", f"{kind}: {what}", ""]
    lines += ["Look: at the script's output, on the machine that ran it"]
    return "\n".join([*lines, f"Help: docs/runbook/{kind if ours else 'Unexpected'}.md"])


def publish(subject: str, message: str) -> None:
    """Publish to the environment's topic, without Prefect and its blocks; print any error."""
    arn = os.environ.get("SNS_TOPIC_ARN")
    if not arn:
        say("SNS_TOPIC_ARN is not set, so no alert was sent.")
        return
    try:
        import boto3

        # SNS knows a topic only in its own region, the fourth part of the ARN
        client = boto3.client("sns", region_name=(arn.split(":") + [""] * 4)[3] or None)
        text = in_format(os.environ.get("ALERT_FORMAT", "text"), subject, message)
        client.publish(TopicArn=arn, Subject=subject, Message=text)
    except Exception as error:
        say(f"the alert could not be published: {type(error).__name__}. Check SNS_TOPIC_ARN.")


def say(text: str) -> None:
    """Write a line to the terminal, if it is still there."""
    with suppress(OSError, AttributeError):  # closed by now, or from the beginning
        sys.stderr.write(f"{text}\n")
