"""An S3 server not written in Python, so that it takes little of the measured time: rclone's, on a folder."""

import os
import subprocess
import tempfile
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import boto3
from botocore.exceptions import BotoCoreError

from sandbox.aws import BUCKET, KEY_ID, REGION
from sandbox.postgres import free_port
from sandbox.stack import ROOT

RCLONE = ROOT / ".venv-bench" / "bin" / "rclone"
SECRET = "benchmarks-secret"


class RcloneS3:
    """A bucket served by `rclone serve s3`; objects' metadata lasts only as long as the server."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        os.mkdir(f"{self._folder.name}/{BUCKET}")
        self.url = f"http://127.0.0.1:{free_port()}"
        address = self.url.removeprefix("http://")
        command = [str(RCLONE), "serve", "s3", "--config", os.devnull, "--addr", address, "--vfs-cache-mode", "off"]
        self._process = subprocess.Popen(
            [*command, "--auth-key", f"{KEY_ID},{SECRET}", self._folder.name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.s3 = boto3.Session(KEY_ID, SECRET, region_name=REGION).client("s3", endpoint_url=self.url)
        for _ in range(100):
            with suppress(BotoCoreError):
                self.s3.list_buckets()
                return self
            time.sleep(0.1)
        self.stop()
        raise TimeoutError("rclone's S3 server did not answer within 10 s")

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server, and delete what it has."""
        self._process.terminate()
        self._process.wait(10)
        self._folder.cleanup()

    def environment(self) -> dict[str, str]:
        """The standard AWS variables, with an endpoint for S3 only."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.url,
            "S3_BUCKET_NAME": BUCKET,
        }
