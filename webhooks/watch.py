"""Put the watch up, or bring it up to date: `python -m webhooks.watch --url https://hooks.example.org`.

Run it where Prefect's settings and the pipeline's environment are, once for each Prefect server or workspace.
WEBHOOK_URL is where the webhook service is, as the Prefect server reaches it; WATCH_API_KEY is the key it expects.
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
from webhooks.automations import POOL, WatchTimes, automations
from webhooks.settings import watch_key_problem

BLOCK = "department-members-watch"


def apply(url: str, key: str, times: WatchTimes, pool: str = POOL) -> list[str]:
    """The automations are as webhooks/automations.py says, and the block by which they call the service at `url`.

    Returns what became of each. One that is so already is left alone, since an update makes Prefect forget what it
    waits for; one that was paused stays so.
    """
    block = Webhook(url=SecretStr(f"{url.rstrip('/')}/watch"), headers=SecretDict({"x-api-key": key}))
    webhook = cast(UUID, block.save(BLOCK, overwrite=True))
    done = [f"{put_up(wanted)}: {wanted.name}" for wanted in automations(times, webhook, pool)]
    return [f"saved: webhook/{BLOCK}, with the service's address and key", *done]


def put_up(wanted: AutomationCore) -> str:
    """One automation is there once, and as it should be."""
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(wanted.name)
        for copy in found[1:]:
            client.delete_automation(copy.id)
        if not found:
            client.create_automation(wanted)
            return "made"
        wanted.enabled = found[0].enabled
        paused = "" if wanted.enabled else ", and is paused"
        if AutomationCore.model_validate(found[0].model_dump()) == wanted:
            return "is there" + paused
        client.update_automation(found[0].id, wanted)
        return "updated" + paused


def take_down() -> list[str]:
    """None of the automations is there."""
    with get_client(sync_client=True) as client:
        ours = automations(WatchTimes(), webhook=UUID(int=0))
        found = [each for core in ours for each in client.read_automations_by_name(core.name)]
        for automation in found:
            client.delete_automation(automation.id)
    return [f"removed: {automation.name}" for automation in found]


def hearing(url: str, key: str) -> str:
    """Whether the service hears the watch, asked by a call that says nothing.

    Raises:
        ConfigError: it does not, and would not hear Prefect either.
    """
    address = f"{url.rstrip('/')}/watch"
    try:
        status = httpx.post(address, json={}, headers={"x-api-key": key}, timeout=5).status_code
    except httpx.HTTPError as error:
        return f"{address} is out of reach from here ({type(error).__name__}); Prefect's server must reach it"
    if status == 400:
        return f"{address} hears the watch"
    raise ConfigError(
        f"{address} answered {status}: expected the webhook service with the same WATCH_API_KEY. Set it there, restart "
        "the service, and run this again."
    )


def expect_loads(environment: Mapping[str, str], stream: Stream) -> str:
    """From now on a load of each of the environment's scopes is expected, even though none has been yet.

    Raises:
        ConfigError: one of them is no GUID.
    """
    if stream.scope_setting not in environment:
        return f"{stream.scope_setting} is not set, so a missing load is told of from the first load on"
    scopes = scopes_of(resolver := Resolver(None, environment), stream, None)
    if resolver.problems:
        raise ConfigError("fix these settings:", resolver.problems)
    schema, table = table_of(environment, stream)
    for scope in scopes:
        emit(WATCHED, table_resource(schema, table, scope), tags=[TAG])
    ids = ", ".join(scope.id for scope in scopes)
    return f"loads of {stream.scope} {ids} into {schema}.{table} are expected from now on"


def table_of(environment: Mapping[str, str], stream: Stream) -> tuple[str, str]:
    """The schema and the name of the table that a stream is loaded into."""
    schema = environment.get("BUSINESS_TRACKING_SCHEMA", DEFAULT_SCHEMA)
    return schema, environment.get(stream.table_setting, stream.table)


def retire(environment: Mapping[str, str], scope_id: str) -> list[str]:
    """No load of that department or course is expected any more, until it is loaded again.

    Raises:
        ConfigError: that is no GUID.
    """
    if not re.fullmatch(GUID, scope_id):
        raise ConfigError("--retire takes a GUID like 5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11, as the message has it.")
    done = []
    for stream in STREAMS.values():
        (schema, table), scope = table_of(environment, stream), Scope(stream, scope_id.lower())
        emit(RETIRED, table_resource(schema, table, scope), tags=[TAG])
        done.append(f"no load of {scope} into {schema}.{table} is expected any more")
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
    """Exit 0 once the watch is up, or down with --remove; 1 where a setting is missing or Prefect refuses."""
    parser = argparse.ArgumentParser(prog="python -m webhooks.watch", description=(__doc__ or "").partition("`")[0])
    parser.add_argument("--url", help="the webhook service, as Prefect's server reaches it; else WEBHOOK_URL")
    parser.add_argument("--pool", default=POOL, help="the work pool that needs a worker")
    parser.add_argument("--silence-hours", type=float, default=26, help="tell if there was no load for so long (26)")
    parser.add_argument("--longest-run-hours", type=float, default=3, help="tell of a run that takes longer (3)")
    parser.add_argument("--remove", action="store_true", help="take the watch down")
    parser.add_argument("--retire", metavar="ID", help="expect no more loads of this department or course")
    options = parser.parse_args(arguments)
    environment = read_environment()
    try:
        if PREFECT_API_URL.value() is None:
            raise ConfigError("PREFECT_API_URL is not set: no Prefect to watch")
        if options.remove:
            done = take_down()
        elif options.retire:
            done = retire(environment, options.retire)
        else:
            times = WatchTimes(
                longest=timedelta(hours=options.longest_run_hours), silence=timedelta(hours=options.silence_hours)
            )
            url, key = settings(environment, options.url)
            expected = [expect_loads(environment, stream) for stream in STREAMS.values()]
            done = [hearing(url, key), *apply(url, key, times, options.pool), *expected]
    except (ConfigError, PrefectHTTPStatusError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write("\n".join(done) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
