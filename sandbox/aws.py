"""S3 and SNS by moto's server, in a process of its own on 127.0.0.1."""

import json
import os
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

import boto3

from sandbox.postgres import free_port

BUCKET = "lms-snapshots"
TOPIC = "department-members-alerts"
OBJECTS_TOPIC = "department-members-objects"
REGION = "eu-west-1"
KEY_ID, SECRET = "sandbox", "sandbox-secret-p@ss:w/o%r#d?&"
# The server ends when its standard input closes, which is when this process is gone. moto signs what SNS
# posts, and keeps the certificates to itself: the second server gives them out.
SERVE = """
import sys, logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from moto.server import ThreadedMotoServer
from moto.sns.models import sns_backends

class Certificates(BaseHTTPRequestHandler):
    def do_GET(self):
        keys = [b._message_public_keys for account in sns_backends.values() for b in account.values()]
        found = [each[self.path[1:]] for each in keys if self.path[1:] in each]
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(found[0] if found else b"")
    def log_message(self, *arguments):
        pass

logging.getLogger("werkzeug").disabled = True
Thread(target=ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Certificates).serve_forever, daemon=True).start()
server = ThreadedMotoServer("127.0.0.1", int(sys.argv[1]), verbose=False)
server.start()
sys.stdin.read()
server.stop()
"""


class SimulatedAws:
    """A bucket, a topic, and a queue that hears what the topic says."""

    def __init__(self) -> None:
        self.port, self._certificates_port = free_port(), free_port()
        self._alerts: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self.port), str(self._certificates_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean,
            start_new_session=True,  # Ctrl-C is for the demo or the tests, which then end this
        )
        self._wait()
        self.s3, self.sns, self.sqs = (self.client(name) for name in ("s3", "sns", "sqs"))
        # S3 wants the region to be named, except for us-east-1
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.topic_arn = self.sns.create_topic(Name=TOPIC)["TopicArn"]
        self._queue = self.sqs.create_queue(QueueName="alerts")["QueueUrl"]
        queue_arn = self.sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        self.sns.subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=queue_arn["Attributes"]["QueueArn"])
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait(10)
        if self._process.stdin:
            self._process.stdin.close()

    @property
    def url(self) -> str:
        """Where S3 and SNS listen."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        """A boto3 client of this server."""
        session = boto3.Session(KEY_ID, SECRET, region_name=REGION)
        return session.client(service, endpoint_url=self.url)

    def environment(self) -> dict[str, str]:
        """The pipeline's names, and AWS's own, for this bucket and topic."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",  # without keys, boto3 would wait for a service that is not there
            "S3_BUCKET_NAME": BUCKET,
            "SNS_TOPIC_ARN": self.topic_arn,
        }

    @property
    def certificates_url(self) -> str:
        """Where the certificates are by whose keys SNS signs, each by its file name."""
        return f"http://127.0.0.1:{self._certificates_port}"

    @property
    def objects_topic_arn(self) -> str:
        """The topic that hears of the bucket's objects."""
        return str(self.topic_arn).rpartition(":")[0] + f":{OBJECTS_TOPIC}"

    def notify(self, webhook_url: str) -> None:
        """From now on, S3 notifies SNS of each new object, and SNS the webhook."""
        topic = self.sns.create_topic(Name=OBJECTS_TOPIC)["TopicArn"]
        self.sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=webhook_url)
        configuration = {"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]}
        self.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=configuration)

    def alerts(self) -> list[dict[str, str]]:
        """Every message the topic has sent so far: `Subject` and `Message`."""
        while messages := self.sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._alerts.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return list(self._alerts)

    def objects(self) -> dict[str, bytes]:
        """Every current object of the bucket, by key."""
        listed = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {o["Key"]: self.s3.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read() for o in listed}

    def reset(self) -> None:
        """Empty the bucket, old versions too, and forget the alerts."""
        self.alerts()
        self._alerts.clear()
        listed = self.s3.list_object_versions(Bucket=BUCKET)
        # a bucket with versions is empty only without its delete markers
        for entry in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
            self.s3.delete_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])

    def _wait(self) -> None:
        for _ in range(300):
            if self._process.poll() is not None:
                raise RuntimeError("moto's server ended at once; is moto[server] installed?")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError("moto's server did not answer within 30 s")
