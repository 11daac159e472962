"""Production, small and on one machine: what a deployment has, all of it real, all on 127.0.0.1.

The sandbox's LMS, S3, SNS and database; a Prefect server on PostgreSQL; workers that know no credential,
for these are in blocks; the webhook service; the deployments of prefect.yaml; S3's notifications; the watch.
"""

import subprocess
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from sandbox.postgres import PASSWORD, USER
from sandbox.prefect_server import PrefectServer, must
from sandbox.stack import Sandbox
from sandbox.webhook_service import WATCH_KEY, WebhookService
from tasks.load.schema import create_statement
from tasks.streams import MEMBERS

POOL = "department-members"
BLOCKS = "department-members"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
NO_SECRETS = ("PREFECT_", "S3_", "DEPARTMENT_", "DO_NOT", "AWS_EC2")


class Production:
    """Everything that runs, deployed and connected.

    Args:
        members: how many the LMS begins with.
        workers: how many serve the pool.
    """

    def __init__(self, members: int = 0, *, workers: int = 1) -> None:
        self.box = Sandbox(members)
        self._workers = workers
        self.workers: list[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # what was started ends, should the rest fail
            stack.enter_context(self.box)
            self.server = stack.enter_context(PrefectServer(self.box.environment(), database_url=self._database()))
            environment = {**self.box.environment(), "PREFECT_API_URL": self.server.url}
            aws = self.box.aws
            self.webhooks = stack.enter_context(
                WebhookService(environment, aws.objects_topic_arn, aws.certificates_url)
            )
            self.box.query(create_statement(MEMBERS, "public.department_members"))
            self.deploy()
            aws.notify(f"{self.webhooks.url}/sns")
            self.start_workers()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def deploy(self) -> None:
        """Save the blocks, make the pool, deploy everything, put the watch up."""
        self.server.environment["DEPLOY_BLOCKS"] = BLOCKS
        must(self.server.run("-m", "blocks.save", "--name", BLOCKS))
        must(self.server.command("work-pool", "create", POOL, "--type", "process"))
        must(self.server.command("--no-prompt", "deploy", "--all"))
        watch = {"WATCH_API_KEY": WATCH_KEY, "WEBHOOK_URL": self.webhooks.url}
        must(self.server.run("-m", "webhooks.watch", environment=watch))

    def start_workers(self) -> None:
        """As many workers as there should be, without a credential in their environment."""
        known = {name: value for name, value in self.server.environment.items() if name.startswith(NO_SECRETS)}
        bare = {name: "" for name in self.box.environment() if name not in known}
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < self._workers:
            self.workers.append(self.server.start_worker(POOL, bare))

    # Prefect's API, as the UI uses it

    def api(self, path: str, content: Any = None) -> Any:
        """What the API answers: to a GET, or to a POST of `content`."""
        with requests.Session() as http:
            http.mount("http://", HTTPAdapter(max_retries=Retry(5, backoff_factor=0.2, status_forcelist=[503])))
            method = "GET" if content is None else "POST"
            answer = http.request(method, self.server.url + path, json=content, timeout=20)
            answer.raise_for_status()
            return answer.json() if answer.content else None

    def patch(self, path: str, content: Any) -> None:
        """Change something, as the UI does."""
        requests.patch(self.server.url + path, json=content, timeout=20).raise_for_status()

    def start(self, name: str, **parameters: Any) -> str:
        """Run a deployment, as the UI's button does; the run's id."""
        deployment = self.api(f"/deployments/name/{name}/{name}")
        run = self.api(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
        return str(run["id"])

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The runs of a flow that were not merely scheduled ahead, oldest first."""
        found: list[dict[str, Any]] = self.api(
            "/flow_runs/filter",
            {"flows": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_ASC"},
        )
        return [run for run in found if not (run["auto_scheduled"] and run["state"]["type"] == "SCHEDULED")]

    def wait_for(self, run_id: str, seconds: float = 120) -> dict[str, Any]:
        """The run, once it has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            run: dict[str, Any] = self.api(f"/flow_runs/{run_id}")
            if run["state"]["type"] in ENDED:
                return run
            time.sleep(0.5)
        raise TimeoutError(f"run {run_id} did not end: {run['state']}")

    def wait_for_run(self, name: str, number: int, seconds: float = 60) -> dict[str, Any]:
        """The flow's run of that number, from 1, once there is one and it has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(found := self.runs(name)) >= number:
                return self.wait_for(found[number - 1]["id"])
            time.sleep(0.5)
        raise TimeoutError(f"no run {number} of {name} within {seconds} s")

    def wait_until_idle(self, seconds: float = 120) -> None:
        """No run is under way: neither one that was started, nor one that S3's event of it starts."""
        time.sleep(2)  # an event becomes a run within a second
        for name in ("lms-to-s3", "department-sync", "s3-to-rds"):
            for run in self.runs(name):
                self.wait_for(run["id"], seconds)

    def _database(self) -> str:
        """A database for Prefect beside the business's, on the same server."""
        connection = self.box.postgres.connect(user="postgres", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE prefect OWNER {USER}")
        connection.close()
        # the password holds characters that mean something in a URL
        return f"postgresql+asyncpg://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.box.postgres.port}/prefect"
