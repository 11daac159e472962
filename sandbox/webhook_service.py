"""The webhook service as a process, in front of the sandbox's Prefect server and moto's SNS.

Run as a module, it is `webhooks` whose certificates come from moto instead of Amazon.
"""

import os
import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

from sandbox.postgres import free_port
from sandbox.prefect_server import answers
from sandbox.stack import INHERITED, ROOT

API_KEY = "sandbox-eventbridge-key-é"
WATCH_KEY = "sandbox-watch-key"


class WebhookService:
    """The service on 127.0.0.1. It ends with this process.

    Args:
        environment: the pipeline's, with PREFECT_API_URL.
        topic_arn: the topic whose messages it takes.
        certificates_url: where moto's certificates are.
    """

    def __init__(self, environment: dict[str, str], topic_arn: str, certificates_url: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            **environment,
            "WEBHOOK_TOPIC_ARNS": topic_arn,
            "WEBHOOK_API_KEY": API_KEY,
            "WATCH_API_KEY": WATCH_KEY,
            "SANDBOX_CERTIFICATES": certificates_url,
        }

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.webhook_service", str(self.port)],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for whoever started it
        )
        if not answers(f"{self.url}/health", self._process, 30):
            self._process.kill()
            raise RuntimeError("the webhook service did not start within 30 s")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(15)


def main() -> None:
    """Serve on the port of argument 1 until standard input closes."""
    import httpx

    from webhooks.server import make_server, run
    from webhooks.settings import read_settings

    async def fetch_from_moto(url: str) -> bytes:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{os.environ['SANDBOX_CERTIFICATES']}/{url.rpartition('/')[2]}")).content

    server = make_server(read_settings(os.environ), fetch=fetch_from_moto, port=int(sys.argv[1]))

    def end_with_parent() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_parent, daemon=True).start()
    run(server)


if __name__ == "__main__":
    main()
