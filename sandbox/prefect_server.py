"""A Prefect server and workers on 127.0.0.1, as processes of their own."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.postgres import free_port
from sandbox.prefect_home import put_database

ROOT = Path(__file__).resolve().parents[1]


class PrefectServer:
    """`prefect server start`, and the workers that are started for it.

    Args:
        environment: what server, workers and command line get, PREFECT_HOME and credentials included.
        database_url: PostgreSQL for the server; without it SQLite, which locks under many events.
    """

    def __init__(self, environment: dict[str, str], *, database_url: str | None = None) -> None:
        self._database = {} if database_url is None else {"PREFECT_API_DATABASE_CONNECTION_URL": database_url}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.environment = {
            **{name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **environment,
            "PREFECT_API_URL": self.url,
            # by default 10, 30 and 15 s: here a run starts, and a lost worker is noticed, within seconds
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
            "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "5",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            if self._database:
                must(self.run("-m", "sandbox.prefect_database", environment=self._database))
            else:
                put_database(Path(self.environment["PREFECT_HOME"]) / "prefect.db")
            self._serve()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)

    def restart(self) -> None:
        """Kill the server as a machine that goes down does, and start it again on the same database."""
        self.kill()
        self._serve()

    def kill(self) -> None:
        """The server is gone without a word."""
        self._server.kill()
        self._server.wait(10)

    def _serve(self) -> None:
        self._server = self._start(
            "server", "start", "--host", "127.0.0.1", "--port", str(self.port), environment=self._database
        )
        if not answers(f"{self.url}/health", self._server):
            raise RuntimeError(f"the Prefect server did not start:\n{self._log('server').read_text()[-2000:]}")

    def start_worker(self, pool: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """A process worker of that pool, with `environment` over the server's."""
        return self._start("worker", "start", "--pool", pool, environment=environment)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`prefect …`, to its end."""
        return self.run("-m", "prefect", *arguments)

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`python …`, to its end, with `environment` over the server's."""
        return subprocess.run(
            [sys.executable, *arguments],
            env={**self.environment, **(environment or {})},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    def _log(self, name: str) -> Path:
        return Path(self.environment["PREFECT_HOME"]) / f"{name}.log"

    def _start(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        log = self._log(arguments[0]).open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            env={**self.environment, **(environment or {})},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for whoever started it, who then ends it in order
        )
        self._processes.append(process)
        return process


def must(done: subprocess.CompletedProcess[str]) -> None:
    """Raise what a command printed, unless it succeeded."""
    if done.returncode:
        raise RuntimeError(f"{done.args}\n{done.stdout}{done.stderr}")


def answers(url: str, process: subprocess.Popen[bytes], patience_s: float = 300) -> bool:
    """Whether a process that was just started serves that address, as soon as it does; False if it ends, or in vain."""
    end = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own address
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False
