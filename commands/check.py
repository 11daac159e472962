"""Test every credential and permission without writing anything: `python -m tasks.check [--blocks NAME]`.

Prints a line for each: `ok`, `FAIL` with what to do, or `?` if AWS does not permit the check.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial

import httpx
import msgspec
from botocore.exceptions import ClientError
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from tasks.credentials import alert_topic, lms_account
from tasks.errors import AuthError, ConfigError, IncompleteSnapshot, PipelineError
from tasks.extract.account_lock import limit_name
from tasks.extract.pages import page_request
from tasks.extract.session import LmsSession
from tasks.library_errors import AWS_ERRORS, aws_trouble
from tasks.load.database import execute, one_row, quoted, transaction
from tasks.load.ledger import LEDGER
from tasks.load.schema import inspect_schema
from tasks.local_server import is_shared, prefect_api
from tasks.s3 import S3Object, listed, object_key, s3_access
from tasks.settings import ExtractSettings, LoadSettings, Resolver, extract_settings, load_settings
from tasks.streams import MEMBERS, STREAMS, Scope, Stream
from tasks.text import one_line, without_user


class CannotCheck(Exception):
    """The permission may exist, but checking it needs another one."""


def check_lms(settings: ExtractSettings, blocks: str | None) -> Iterator[str]:
    """Sign in, and read each scope's name and size. Ends a session that another run may have."""
    with LmsSession(lms_account(blocks)) as session:
        session.sign_in()
        yield f"signed in to {session.account.rest_api_url}"
        for scope in settings.scopes:
            yield from check_scope(session, scope)


def check_scope(session: LmsSession, scope: Scope) -> Iterator[str]:
    """Read one scope's name and size."""
    where = str(scope)
    named = session.get(f"{scope.stream.scopes_path}/{scope.id}", {}, msgspec.json.decode, where)
    page = session.get(*page_request(scope, 0, 1), msgspec.json.decode, where)
    if not isinstance(named, dict) or not isinstance(page, dict) or type(page.get("totalItems")) is not int:
        raise IncompleteSnapshot(f"{where}: expected LMS responses with `name` and `totalItems`, found something else.")
    if not page["totalItems"]:
        raise ConfigError(
            f"{where} has no {scope.stream.item_noun} that this account can see. Check {scope.stream.scope_setting} "
            f"and the account's role."
        )
    size = f"{page['totalItems']:,} {scope.stream.item_noun}"
    yield f"{where} is {str(named.get('name'))!r} with {size}"


def check_bucket(settings: ExtractSettings, blocks: str | None) -> Iterator[str]:
    """Read the existing snapshot's metadata, and start an upload and abort it, so that nothing is written."""
    if not settings.scopes:
        raise CannotCheck(f"{settings.path_template} was not tested, since no department or course is set")
    key = object_key(settings.path_template, settings.scopes[0], datetime.now(UTC))
    target = S3Object(settings.bucket, key)
    with s3_access(target, blocks) as client:
        # this needs s3:PutObject, as an upload does, but makes no object
        upload = client.create_multipart_upload(Bucket=target.bucket, Key=target.key + ".check")
        client.abort_multipart_upload(Bucket=target.bucket, Key=target.key + ".check", UploadId=upload["UploadId"])
        yield f"can write objects to s3://{target.bucket}"
        if any(entry["Key"] == target.key for entry in listed(client, target.bucket, target.key)):
            client.head_object(Bucket=target.bucket, Key=target.key)
            yield f"can list and read {target}"
        else:
            yield f"can list; {target} does not exist yet"


def check_topic(blocks: str | None) -> Iterator[str]:
    """The alert topic exists."""
    topic = alert_topic(blocks)
    if topic is None:
        raise ConfigError("SNS_TOPIC_ARN is not set, so failures are only logged.")
    try:
        found = topic.client().get_topic_attributes(TopicArn=topic.topic_arn)["Attributes"]
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in {"AuthorizationError", "AuthorizationErrorException", "AccessDenied"}:
            raise CannotCheck(
                f"{topic.topic_arn}: not permitted to read the topic's attributes; publishing may still be allowed"
            ) from None
        raise ConfigError(f"{topic.topic_arn}: SNS answered {code}. Check SNS_TOPIC_ARN and its region.") from None
    except AWS_ERRORS as error:
        raise aws_trouble(error, topic.topic_arn, "SNS") from None
    confirmed = found.get("SubscriptionsConfirmed", "?")
    yield f"{topic.topic_arn} exists; confirmed subscribers: {confirmed}"
    yield f"alerts go out as {topic.alert_format} (ALERT_FORMAT)"


def check_database(settings: LoadSettings, stream: Stream, blocks: str | None) -> Iterator[str]:
    """Sign in, inspect the table and its key, and ask for each right."""
    table = inspect_schema.fn(settings.schema, settings.tables[stream.name], stream=stream, blocks=blocks)
    yield f"signed in; {table.quoted} has {len(table.columns)} columns and a unique {table.stream.key_column}"
    names = {"table": table.quoted, "ledger": quoted(settings.schema, LEDGER), "schema": settings.schema}
    with transaction(blocks) as cursor:
        execute(cursor, "rights", names)
        may_write, may_delete, may_stage, may_record = one_row(cursor)
    missing = [
        right
        for right, held in (
            (f"SELECT, INSERT and UPDATE on {table.quoted}", may_write),
            ("TEMPORARY on the database", may_stage),
            (f"SELECT and INSERT on {LEDGER}, or CREATE on the schema until it exists", may_record),
        )
        if not held
    ]
    if missing:
        raise AuthError(f"the database user lacks {'; '.join(missing)}. Grant these permissions.")
    yield "can write, stage and record loads" + (
        "" if may_delete else "; lacks DELETE, so on_departure delete will fail"
    )


def check_prefect(blocks: str | None) -> Iterator[str]:
    """The Prefect API answers. A script without one starts its own."""
    if not is_shared():
        yield "PREFECT_API_URL is not set: each script starts its own Prefect server"
        return
    url = without_user(PREFECT_API_URL.value() or "")
    with get_client(sync_client=True) as client:
        problem = client.api_healthcheck()
        if problem is not None:
            raise ConfigError(f"{url} does not answer ({type(problem).__name__}). Check PREFECT_API_URL.")
        try:
            client.read_global_concurrency_limits(limit=1)  # health is open to all; this is asked as a run asks
            yield f"{url} is up, version {client.api_version()}"
        except httpx.HTTPStatusError as error:
            raise AuthError(
                f"{url} answered {error.response.status_code}. Check PREFECT_API_KEY or PREFECT_API_AUTH_STRING."
            ) from None
        except httpx.HTTPError as error:
            raise ConfigError(f"{url} does not answer ({type(error).__name__}). Check PREFECT_API_URL.") from None
    yield f"one run per LMS account at a time, through the concurrency limit {limit_name(lms_account(blocks))}"


def run(blocks: str | None) -> bool:
    """Print a line for each finding; return whether nothing failed."""
    resolver = Resolver(blocks)
    streams = [
        stream for stream in STREAMS.values() if stream is MEMBERS or stream.scope_setting in resolver.environment
    ]
    extracts = [extract_settings(resolver, stream, None, None, None, None, None) for stream in streams]
    load = load_settings(resolver, None, None)
    for problem in dict.fromkeys(resolver.problems):
        say("FAIL", "settings", problem)
    checks: list[tuple[str, Callable[[], Iterator[str]]]] = [
        *(("LMS", partial(check_lms, extract, blocks)) for extract in extracts),
        *(("bucket", partial(check_bucket, extract, blocks)) for extract in extracts),
        ("topic", partial(check_topic, blocks)),
        *(("database", partial(check_database, load, stream, blocks)) for stream in streams),
        ("Prefect", partial(check_prefect, blocks)),
    ]
    return all([not resolver.problems, *(run_check(what, check) for what, check in checks)])


def run_check(what: str, check: Callable[[], Iterator[str]]) -> bool:
    """Print what a check finds; whether it did not fail."""
    try:
        for found in check():
            say("ok", what, found)
    except CannotCheck as reason:
        say("?", what, str(reason))
    except PipelineError as error:
        say("FAIL", what, f"{type(error).__name__}: {error.message} {'; '.join(error.problems)}".rstrip())
        return False
    except Exception as error:  # the other checks still say what they find
        say("FAIL", what, f"an unexpected {type(error).__name__}")
        return False
    return True


def say(verdict: str, what: str, text: str) -> None:
    """One line, in characters that the terminal has."""
    line, encoding = f"{verdict:<5}{what:<10}{one_line(text)}\n", sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding))


def main() -> int:
    """Exit 0 if nothing failed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.check", description=(__doc__ or "").split("`")[0])
    parser.add_argument("--blocks", help="the name of the saved blocks; default: environment variables")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    try:
        with prefect_api() if options.blocks else nullcontext():  # only blocks need it
            return 0 if run(options.blocks) else 1
    except ConfigError as error:
        say("FAIL", "Prefect", str(error))
        return 1
