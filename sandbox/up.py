"""`make up`: production on this machine, to look at and to try. Ctrl-C ends all of it."""

import shlex
import signal
import sys

from sandbox.postgres import DATABASE, PASSWORD, USER
from sandbox.production import BLOCKS, Production

MEMBERS = 3000
GUIDE = """
  Prefect UI         {ui}
  webhook service    {webhooks}  (S3 notifies SNS, SNS calls it, it sends events to Prefect)
  simulated LMS      {lms}  {members} members
  simulated S3, SNS  {aws}  bucket {bucket}
  PostgreSQL         psql "host=127.0.0.1 port={port} dbname={database} user={user}"
                     with PGPASSWORD={password}
  blocks             {blocks}

  1. Open {ui}/deployments, choose lms-to-s3, then Run > Quick run.
  2. Within half a minute it publishes a snapshot; an S3 event starts s3-to-rds, which fills the table.
  3. Look at both runs: their logs, and under Artifacts their reports.
  4. Run it again: nothing changed, so no row is rewritten.

Ctrl-C ends all of it; nothing is kept.
"""


def main() -> int:
    """Start everything, print where it is, wait for Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        say("Starting the simulated LMS, S3 and SNS, PostgreSQL, Prefect, a worker and the webhook service ...")
        with Production(MEMBERS) as production:
            say(guide(production))
            try:
                signal.pause()
            finally:
                say("\nEnding all of it ...")
    except KeyboardInterrupt:
        pass
    return 0


def guide(production: Production) -> str:
    """Where everything is, and what to click."""
    box = production.box
    return GUIDE.format(
        ui=production.server.url.removesuffix("/api"),
        webhooks=production.webhooks.url,
        lms=box.lms.url,
        members=f"{MEMBERS:,}",
        aws=box.aws.url,
        bucket=box.environment()["S3_BUCKET_NAME"],
        port=box.postgres.port,
        database=DATABASE,
        user=USER,
        password=shlex.quote(PASSWORD),
        blocks=BLOCKS,
    )


def say(text: str) -> None:
    """One text at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
