"""The Prefect server that a script starts for itself if none is set, while the script's own imports run.

Prefect would start one too, but only when it is first needed, and only after importing the whole server into the
script, which takes several seconds longer. Imports nothing from Prefect, which reads its settings on import.
"""

import atexit
import errno
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from tasks.errors import ConfigError

SETTING = "PREFECT_API_URL"
LONGEST_START_S = 120
"""Creating a new database takes ten seconds; on a busy machine, more than Prefect's own limit of 20."""
LONGEST_WAIT_S = 30  # for another script's server
SHOWN_LINES = 15  # of the output of a server that did not start
NEW_DATABASE = 2 << 20
"""Bytes that Prefect's own database takes up when it is new, and a margin."""
ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",  # how Prefect marks a server that a script starts: it runs no scheduler
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_API_BASE_PATH": "/api",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # its telemetry locks the new database and logs a traceback
}


class LocalServer:
    """A Prefect server on 127.0.0.1 for this process only; it ends with this process, however that ends.

    Raises:
        ConfigError: Prefect's home has no room for its database.
    """

    def __init__(self) -> None:
        check_home()
        self._turn = wait_for_others()
        try:
            self._output: Any = tempfile.TemporaryFile()  # noqa: SIM115 - needed for as long as the server runs
        except OSError:
            self._output = subprocess.DEVNULL
        # the password of a shared server does not apply here: this server's client has none
        inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_SERVER_API_AUTH_STRING"}
        # the server gets the socket itself, so that no other process can take its port meanwhile
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            self._process = subprocess.Popen(  # noqa: S603 - our own file
                # -P: else tasks/ would be first on its path, and hide other modules of the same names
                [sys.executable, "-P", Path(__file__).with_name("prefect_process.py"), str(listening.fileno())],
                env={**inherited, **ENVIRONMENT},
                pass_fds=[listening.fileno()],
                stdin=subprocess.PIPE,  # closes when this process is gone, and with it the server ends
                stdout=subprocess.DEVNULL,
                stderr=self._output,
                start_new_session=True,  # Ctrl-C ends the run, which must still report its state to the server
            )
        atexit.register(self.stop)

    def wait(self) -> None:
        """Wait until the server responds.

        Raises:
            ConfigError: it ended, or did not respond in time.
        """
        end = time.monotonic() + LONGEST_START_S
        # without this, urllib would ask HTTP_PROXY even for 127.0.0.1
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while self._process.poll() is None and (left := end - time.monotonic()) > 0:
            with suppress(OSError), direct.open(f"{self.url}/health", timeout=left):
                self._turn.close()
                return
            time.sleep(0.1)
        self.stop()
        sys.stderr.write(self._last_lines())
        settings = sorted(name for name in os.environ if name.startswith(("PREFECT_SERVER_", "PREFECT_API_DATABASE_")))
        raise ConfigError(
            f"Prefect could not start a server for this script. Is there free space in {home()}, and may this user "
            f"write there? Check {', '.join(['PREFECT_HOME', *settings])}, or set PREFECT_API_URL to a running server."
        )

    def _last_lines(self) -> str:
        if self._output == subprocess.DEVNULL:
            return ""
        self._output.seek(0)
        return "\n".join(["", *self._output.read().decode(errors="replace").splitlines()[-SHOWN_LINES:], ""])

    def stop(self) -> None:
        """Stop the server. By then its database has everything that it received."""
        atexit.unregister(self.stop)
        self._turn.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def wait_for_others() -> TextIO:
    """Wait while another script creates Prefect's database: two at a time fail. The lock is held until it is closed."""
    lock = (home() / "department-members.lock").open("w")
    end = time.monotonic() + LONGEST_WAIT_S
    while time.monotonic() < end:
        # many may use a database that is there; a new one is made by one alone
        kind = fcntl.LOCK_SH if (home() / "prefect.db").exists() else fcntl.LOCK_EX
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:  # some file systems do not support locks
            return lock
    return lock


_own: list[LocalServer] = []
"""This process's own server, once it has been started."""


def start_early() -> None:
    """Start the server before Prefect is imported, unless its settings seem to name another.

    Raises:
        ConfigError: Prefect's home has no room for its database.
    """
    if not _own and not seems_set():
        _own.append(LocalServer())


def seems_set() -> bool:
    """Whether the environment or a settings file mentions the API's address. Later, what Prefect reads decides."""
    profiles = os.environ.get("PREFECT_PROFILES_PATH") or home() / "profiles.toml"
    texts = [SETTING if os.environ.get(SETTING) else ""]
    for file in (".env", "prefect.toml", "pyproject.toml", profiles):
        with suppress(OSError):
            texts.append(Path(file).read_text(encoding="utf-8", errors="replace"))
    return any(mention in text for text in texts for mention in (SETTING, "[api]", "prefect.api"))


@contextmanager
def prefect_api() -> Iterator[None]:
    """Make sure that there is a Prefect API: the one that is set, otherwise this process's own server.

    Raises:
        ConfigError: the server did not start.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_ENABLED, temporary_settings

    if PREFECT_API_URL.value():
        stop_own()
        yield
        return
    if not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        raise ConfigError(
            "PREFECT_API_URL is not set, and Prefect's profile or PREFECT_SERVER_EPHEMERAL_ENABLED allows no server "
            "for a script alone. Set PREFECT_API_URL to a running server, or allow it."
        )
    if not _own:
        _own.append(LocalServer())
    _own[0].wait()
    with temporary_settings({PREFECT_API_URL: _own[0].url}), without_proxy():
        yield
    # The server runs until this process ends: Prefect's threads still send logs and events while they shut down.


@contextmanager
def without_proxy() -> Iterator[None]:
    """Use no proxy between this process and its own server."""
    before = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    hosts = ",".join([*(hosts for hosts in before.values() if hosts), "127.0.0.1"])
    os.environ.update(dict.fromkeys(before, hosts))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def stop_own() -> None:
    """Stop this process's own server, if there is one."""
    while _own:
        _own.pop().stop()


def is_shared() -> bool:
    """Whether other processes and people use this Prefect API: it is not this process's own."""
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    return bool(url) and url not in [server.url for server in _own]


def check_home() -> None:
    """Raise ConfigError if Prefect's home has no room for its database; Prefect itself would not say why it failed."""
    try:
        home().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home(), buffering=0) as file:
            file.write(bytes(NEW_DATABASE))
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise ConfigError(
            f"cannot write to Prefect's home {home()} ({name}). Free some space there, set PREFECT_HOME to another "
            "directory, or set PREFECT_API_URL to a running server."
        ) from None


def home() -> Path:
    """Prefect's home."""
    return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
