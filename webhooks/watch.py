"""Set up or update the watch: `python -m webhooks.watch --url https://hooks.example.org`.

Run it once per Prefect server or workspace, where Prefect's settings and the pipeline's environment variables are set.
WEBHOOK_URL is the webhook service's address as seen from the Prefect server; WATCH_API_KEY is the key it expects.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import cast
from uuid import UUID

import httpx
from prefect.automations import AutomationCore
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.types import SecretDict
from pydantic import SecretStr

from tasks.credentials import read_environment
from tasks.errors import ConfigError
from tasks.events import RETIRED, TAG, WATCHED, emit, table_resource
from tasks.metadata import GUID
from tasks.settings import DEFAULT_SCHEMA, Resolver, scopes_of
from tasks.streams import STREAMS, Scope, Stream
from webhooks.automations import POOL, PREVIOUS_NAMES, WatchTimes, automations
from webhooks.settings import watch_key_problem

BLOCK = "department-members-watch"


def apply(url: str, key: str, times: WatchTimes, pool: str = POOL) -> list[str]:
    """Create or update the automations of webhooks/automations.py, and the block through which they call `url`.

    Returns a line for each. An automation that is up to date is not touched, since an update makes Prefect forget what
    it is waiting for; one that was paused stays paused.
    """
    block = Webhook(url=SecretStr(f"{url.rstrip('/')}/watch"), headers=SecretDict({"x-api-key": key}))
    webhook = cast(UUID, block.save(BLOCK, overwrite=True))
    done = [f"{create_or_update(wanted)}: {wanted.name}" for wanted in automations(times, webhook, pool)]
    return [f"saved: webhook/{BLOCK}, with the service's address and key", *done]


def create_or_update(wanted: AutomationCore) -> str:
    """Make sure that one automation exists exactly once, under its current name, and is up to date."""
    with get_client(sync_client=True) as client:
        found = [each for name in names_of(wanted) for each in client.read_automations_by_name(name)]
        for copy in found[1:]:
            client.delete_automation(copy.id)
        if not found:
            client.create_automation(wanted)
            return "created"
        wanted.enabled = found[0].enabled
        paused = "" if wanted.enabled else ", but paused"
        if AutomationCore.model_validate(found[0].model_dump()) == wanted:
            return "up to date" + paused
        client.update_automation(found[0].id, wanted)
        return "updated" + paused


def names_of(wanted: AutomationCore) -> list[str]:
    """The automation's name, then the one that an earlier version gave it."""
    return [name for name in (wanted.name, PREVIOUS_NAMES.get(wanted.name)) if name]


def delete_automations() -> list[str]:
    """Delete all the automations."""
    with get_client(sync_client=True) as client:
        ours = automations(WatchTimes(), webhook=UUID(int=0))
        found = [each for core in ours for name in names_of(core) for each in client.read_automations_by_name(name)]
        for automation in found:
            client.delete_automation(automation.id)
    return [f"removed: {automation.name}" for automation in found]


def probe(url: str, key: str) -> str:
    """Probe the service with an empty request.

    Raises:
        ConfigError: the service would not accept alerts from Prefect.
    """
    address = f"{url.rstrip('/')}/watch"
    try:
        status = httpx.post(address, json={}, headers={"x-api-key": key}, timeout=5).status_code
    except httpx.HTTPError as error:
        return (
            f"{address} cannot be reached from here ({type(error).__name__}); make sure that the Prefect server can "
            "reach it"
        )
    # the service looks at the key first; then it refuses the empty alert
    if status == 400:
        return f"{address} accepts the watch's key"
    raise ConfigError(
        f"{address} answered {status}: expected the webhook service with the same WATCH_API_KEY. Set that key in the "
        "service's environment, restart the service, and run this again."
    )


def expect_loads(environment: Mapping[str, str], stream: Stream) -> str:
    """Expect loads of the configured departments or courses from now on, even if there has been none yet.

    Raises:
        ConfigError: one of them is not a GUID.
    """
    if stream.scope_setting not in environment:
        return (
            f"{stream.scope_setting} is not set, so missing {stream.scope_noun} loads raise alerts only after the "
            "first load"
        )
    scopes = scopes_of(resolver := Resolver(None, environment), stream, None)
    if resolver.problems:
        raise ConfigError("fix these settings:", resolver.problems)
    schema, table = table_of(environment, stream)
    for scope in scopes:
        emit(WATCHED, table_resource(schema, table, scope), tags=[TAG])
    ids = ", ".join(scope.id for scope in scopes)
    return f"loads of {stream.scope_noun} {ids} into {schema}.{table} are expected from now on"


def table_of(environment: Mapping[str, str], stream: Stream) -> tuple[str, str]:
    """The schema and the name of the table that a stream is loaded into."""
    schema = environment.get("BUSINESS_TRACKING_SCHEMA", DEFAULT_SCHEMA)
    return schema, environment.get(stream.table_setting, stream.table)


def retire(environment: Mapping[str, str], scope_id: str) -> list[str]:
    """Stop expecting loads of that department or course, until it is loaded again.

    Raises:
        ConfigError: that is no GUID.
    """
    if not re.fullmatch(GUID, scope_id):
        raise ConfigError("--retire takes a GUID like 5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11, as shown in the alert.")
    done = []
    for stream in STREAMS.values():
        (schema, table), scope = table_of(environment, stream), Scope(stream, scope_id.lower())
        emit(RETIRED, table_resource(schema, table, scope), tags=[TAG])
        done.append(f"loads of {scope} into {schema}.{table} are no longer expected")
    return done


def settings(environment: Mapping[str, str], url: str | None) -> tuple[str, str]:
    """Where the service is, and its key.

    Raises:
        ConfigError: names everything that is missing.
    """
    url, key = url or environment.get("WEBHOOK_URL", ""), environment.get("WATCH_API_KEY", "")
    problems = [
        None if url.startswith(("https://", "http://")) else "WEBHOOK_URL must be the service's address, https://…",
        watch_key_problem(key),
    ]
    if any(problems):
        raise ConfigError("fix these settings:", filter(None, problems))
    return url, key


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 once the watch is set up (or removed, with --remove); 1 if a setting is missing or Prefect refuses."""
    parser = argparse.ArgumentParser(prog="python -m webhooks.watch", description=(__doc__ or "").partition("`")[0])
    parser.add_argument(
        "--url", help="the webhook service's address as seen from the Prefect server; default: WEBHOOK_URL"
    )
    parser.add_argument("--pool", default=POOL, help="the work pool to watch")
    parser.add_argument(
        "--silence-hours", type=float, default=26, help="alert after this many hours without a load (default 26)"
    )
    parser.add_argument(
        "--longest-run-hours", type=float, default=3, help="alert on a run that takes longer than this (default 3)"
    )
    parser.add_argument("--remove", action="store_true", help="remove the watch")
    parser.add_argument("--retire", metavar="ID", help="stop expecting loads of this department or course")
    options = parser.parse_args(arguments)
    environment = read_environment()
    try:
        if not PREFECT_API_URL.value():
            raise ConfigError("PREFECT_API_URL is not set; set it to the Prefect server to watch")
        if options.remove:
            done = delete_automations()
        elif options.retire:
            done = retire(environment, options.retire)
        else:
            times = WatchTimes(
                longest=timedelta(hours=options.longest_run_hours), silence=timedelta(hours=options.silence_hours)
            )
            url, key = settings(environment, options.url)
            expected = [expect_loads(environment, stream) for stream in STREAMS.values()]
            done = [probe(url, key), *apply(url, key, times, options.pool), *expected]
    except (ConfigError, PrefectHTTPStatusError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write("\n".join(done) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
