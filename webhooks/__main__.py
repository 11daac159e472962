"""Run the webhook service: `python -m webhooks --port 8300`.

Configure it with environment variables or `.env`: S3_BUCKET_NAME, S3_DEPARTMENT_MEMBERS_PATH and PREFECT_API_URL, and
at least one of WEBHOOK_TOPIC_ARNS (for SNS), WEBHOOK_API_KEY (for EventBridge), or WATCH_API_KEY with SNS_TOPIC_ARN
(for the watch). Run it behind a TLS proxy.
"""

import argparse
import logging
import sys

from prefect.settings import PREFECT_API_URL

from tasks.credentials import read_environment
from tasks.errors import ConfigError
from webhooks.server import make_server, run
from webhooks.settings import check_reach, read_settings


def main() -> int:
    """Serve until stopped; exit code 1 if a setting is missing or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8300)
    options = parser.parse_args()
    try:
        settings = read_settings(read_environment())
        if not PREFECT_API_URL.value():
            raise ConfigError("PREFECT_API_URL is not set; set it to the Prefect server that receives the events")
        check_reach()
    except ConfigError as error:
        sys.stderr.write(f"webhooks: {error}\n")
        return 1
    # Prefect, once its settings are read, has put handlers of its own on the root; ours take their place.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request's address
    server = make_server(settings, host=options.host, port=options.port)
    paths = {"/sns": settings.topics, "/eventbridge": settings.api_key, "/watch": settings.watch}
    taken = ", ".join(path for path, given in paths.items() if given)
    logging.getLogger("webhooks").info("listening on http://%s:%d for %s", options.host, options.port, taken)
    return run(server)


if __name__ == "__main__":
    raise SystemExit(main())
