"""All of the embedded default at once, and the pipeline's environment for it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from sandbox.aws import SimulatedAws
from sandbox.lms import SimulatedLms
from sandbox.postgres import Postgres, rows_of
from sandbox.prefect_home import put_database

ROOT = Path(__file__).resolve().parents[1]
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "COVERAGE_PROCESS_START")


class Sandbox:
    """An LMS with some members, a bucket, a topic and an empty database."""

    def __init__(self, members: int = 0, *, postgres_version: int = 18) -> None:
        self.lms = SimulatedLms(members)
        self.aws = SimulatedAws()
        self.postgres = Postgres(postgres_version)

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # what was started ends, should the rest fail
            home = TemporaryDirectory(prefix="sandbox-prefect-", ignore_cleanup_errors=True)
            self.prefect_home = Path(stack.enter_context(home))
            with ThreadPoolExecutor() as pool:
                database = pool.submit(put_database, self.prefect_home / "prefect.db")
                list(pool.map(stack.enter_context, (self.lms, self.aws, self.postgres)))
                database.result()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def environment(self) -> dict[str, str]:
        """Everything the flows need, and a Prefect of their own."""
        return {
            **self.lms.environment(),
            **self.aws.environment(),
            **self.postgres.environment(),
            "S3_DEPARTMENT_MEMBERS_PATH": "department_members/{department_id}.csv",
            "PREFECT_HOME": str(self.prefect_home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }

    def query(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """The rows of one statement, run by the owner of the database; committed."""
        return rows_of(self.postgres.connect(), statement, parameters)

    def command(self, script: str, *flags: str, env: dict[str, str] | None = None) -> dict[str, Any]:
        """What subprocess needs to run one of the flows with this sandbox's environment and no other."""
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment = {**inherited, "PYTHONPATH": str(ROOT), **self.environment(), **(env or {})}
        path = script if script.startswith("-") else str(ROOT / script)
        # Not in the checkout, whose .env may name a real LMS.
        return {"args": [sys.executable, path, *flags], "env": environment, "cwd": self.prefect_home}

    def run(
        self, script: str, *flags: str, env: dict[str, str] | None = None, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the flows as a script, to its end."""
        command = self.command(script, *flags, env=env)
        return subprocess.run(**command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
