"""Erase one person, who is no more in the LMS, from every store: `python -m commands.erase LMS_USER_ID [--yes]`.

Without --yes it shows what it would do, and changes nothing. It needs more rights than a run has: DELETE on the tables
and their histories, and in S3 s3:ListBucketVersions, s3:GetObject, s3:GetObjectVersion, s3:PutObject,
s3:DeleteObjectVersion, s3:GetObjectTagging and s3:PutObjectTagging.
"""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
from prefect.client.orchestration import get_client
from psycopg2.extensions import cursor as Cursor

from commands.erasure.not_reached import not_reached
from commands.erasure.objects import Version, delete, list_versions, plan, search, write_anew
from commands.erasure.person import Found, Person
from commands.erasure.rows import Table, erase_all, find_rows, forget_fingerprints, loads_of, tables_of, with_addresses
from commands.erasure.runs import erase_runs, find_runs
from tasks.credentials import hash_key, lms_account
from tasks.errors import ConfigError, PipelineError
from tasks.extract.account_lock import one_run_an_account
from tasks.extract.hashing import hashed
from tasks.extract.session import LmsSession
from tasks.files import run_folder
from tasks.load.database import transaction
from tasks.load.ledger import find_earlier, open_ledger, record_load
from tasks.load.loaded import Loaded
from tasks.load.schema import TableSchema
from tasks.load.table_lock import lock_table
from tasks.local_server import prefect_api
from tasks.metadata import GUID
from tasks.s3 import S3Object, Snapshot, s3_access
from tasks.settings import Resolver, column_names_from, load_settings
from tasks.streams import ENROLLMENTS, MEMBERS, STREAMS

NAMED = 10
"""The most objects that are named among those that were not searched."""


class Erasure:
    """The erasure of one person: the stores that are searched, and what is done in each."""

    def __init__(self, person: Person, schema: str | None, blocks: str | None) -> None:
        self.person = person
        self.blocks = blocks
        if key := hash_key(blocks):
            self.person = replace(person, hashed_id=hashed(person.id, key))
        resolver = Resolver(blocks)
        load = load_settings(resolver, schema, None)
        self.schema, self.configured = load.schema, load.tables
        self.bucket = resolver.bucket(None)
        paths = [resolver.environment.get(s.path_setting) or s.default_path or "" for s in STREAMS.values()]
        self.prefixes = {path.partition("{")[0] for path in paths}
        user = column_names_from(resolver, ENROLLMENTS, None, None, None).column("userId")
        self.person_columns = {MEMBERS.key_column, *([user] if user else [])}
        resolver.credentials("lms_account")
        resolver.finish()
        self.loads: set[tuple[str, str, str]] = set()
        """Which table was loaded from which bucket and key."""
        self.versions: list[Version] = []
        """What names the person in S3, as the last search found it."""
        self.left: list[Found] = []
        """What rewritten objects still mention, and objects that could not be rewritten."""
        self.untagged: list[str] = []
        """The objects that were rewritten without their tags."""

    def check_gone(self) -> None:
        """Raise ConfigError if the LMS still lists the person, since the next snapshot would bring them back."""
        with LmsSession(lms_account(self.blocks)) as session:
            session.sign_in()
            try:
                session.get(f"/users/{self.person.id}", {}, msgspec.json.Decoder().decode, "the person")
            except ConfigError as error:
                if error.status == 404:
                    return
                raise
        raise ConfigError(
            "the LMS still lists this person, so the next snapshot would bring them back. Nothing was changed. Delete "
            "them in the LMS first; then run this again."
        )

    def find(self) -> list[Found]:
        """What names the person, in every store."""
        with transaction(self.blocks) as cursor:
            self.loads = loads_of(cursor, self.schema)
            self.prefixes |= {key for _, bucket, key in self.loads if bucket == self.bucket}
            tables = self._tables(cursor)
            found = [each for table in tables for each in find_rows(cursor, table, self.person)]
            self.person = with_addresses(cursor, tables, self.person)
        with s3_access(S3Object(self.bucket, ""), self.blocks) as client:
            self.versions, unsearched = self._search(client)
            found += plan(self.versions)
            if unsearched:
                keys = ", ".join(sorted({version.key for version in unsearched})[:NAMED])
                where = f"s3://{self.bucket}"
                found.append(
                    Found(where, len(unsearched), f"versions that are no text and were not searched: {keys}", True)
                )
        with get_client(sync_client=True) as prefect:
            return found + find_runs(prefect, self.person)

    def erase(self) -> None:
        """Remove the person from every store that `find` has searched. Can be run again after any interruption.

        The tables stay locked until the ledger has the new objects as loaded: S3 sends an event for each, and the load
        that it starts must find nothing to do.
        """
        with ExitStack() as held:
            folder = held.enter_context(run_folder())
            cursor = held.enter_context(transaction(self.blocks))
            client = held.enter_context(s3_access(S3Object(self.bucket, ""), self.blocks))
            tables = self._tables(cursor)
            for name in sorted(self._names()):
                lock_table(cursor, TableSchema(self.schema, name, ()))
            erase_all(cursor, tables)
            forget_fingerprints(cursor, self.schema, self._names())
            for version in sorted(self.versions, key=lambda each: each.is_current):  # older versions first
                if version.is_current:
                    self._write_anew(client, cursor, version, folder)
                else:
                    delete(client, version)
        with get_client(sync_client=True) as prefect:
            erase_runs(prefect, self.person)

    def _write_anew(self, client: Any, cursor: Cursor, version: Version, folder: Path) -> None:
        where = f"s3://{version.bucket}/{version.key}"
        rewritten = write_anew(client, version, self.person, self.person_columns, folder, self.blocks)
        if rewritten is None:
            self.left.append(Found(where, 1, "object that is not strict CSV; correct or delete it by hand", True))
            return
        if not rewritten.kept_tags:
            self.untagged.append(where)
        if rewritten.mentions:
            what = "rows of others that mention the id; correct them in the LMS"
            self.left.append(Found(where, rewritten.mentions, what, True))
        if rewritten.after is not None and not version.is_rejects and self.loads:
            self._count_as_loaded(cursor, rewritten.before, rewritten.after)

    def _count_as_loaded(self, cursor: Cursor, before: Snapshot, after: Snapshot) -> None:
        """Count the new object as loaded if the previous one was; if it was not, S3's event will load the new one."""
        stream = MEMBERS if after.scope is None else after.scope.stream
        for name in sorted({name for name, *there in self.loads if there == [after.object.bucket, after.object.key]}):
            table = TableSchema(self.schema, name, (), stream=stream)
            open_ledger(cursor, table)
            if find_earlier(cursor, table, before).load_id is not None:
                record_load(cursor, table, after, Loaded().counts(), None)

    def _tables(self, cursor: Cursor) -> list[Table]:
        return list(tables_of(cursor, self.schema, self._names(), self.person, self.person_columns))

    def _names(self) -> set[str]:
        return {*self.configured.values(), *(table for table, *_ in self.loads)}

    def _search(self, client: Any) -> tuple[list[Version], list[Version]]:
        versions = list_versions(client, self.bucket, self.prefixes)
        size = sum(version.size for version in versions) / 1e6
        sys.stderr.write(f"searching {len(versions)} versions of objects in {self.bucket}, {size:,.1f} MB\n")
        return search(client, versions, self.person)


def show(found: list[Found]) -> None:
    """Print a line for each store that names the person."""
    for each in found or [Found("every store", 0, "mentions", False)]:
        sys.stdout.write(f"  {each.line()}\n")


def run(erasure: Erasure, *, is_meant: bool) -> bool:
    """Show, erase and search again; return whether nothing of the person is left."""
    erasure.check_gone()
    found = erasure.find()
    sys.stdout.write("What names the person:\n")
    show(found)
    if not is_meant:
        sys.stdout.write("Nothing was changed. Run again with --yes to erase it.\n")
        return True
    if found:
        erasure.erase()
        sys.stdout.write("Erased. What a new search of the same stores finds:\n")
        found = [*erasure.find(), *erasure.left]
        show(found)
    other_buckets = {bucket for _, bucket, _ in erasure.loads} - {erasure.bucket}
    sys.stdout.write("Not reached, and yours to see to:\n")
    sys.stdout.writelines(f"  {each}\n" for each in not_reached(other_buckets, erasure.untagged))
    return not found


def guid(text: str) -> str:
    """A GUID in lower case."""
    if not re.fullmatch(GUID, text):
        raise argparse.ArgumentTypeError("must be a GUID like 5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11")
    return text.lower()


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing is left (or --yes was not given), else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m commands.erase",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("person", type=guid, metavar="LMS_USER_ID", help="the person's id in the LMS, a GUID")
    parser.add_argument("--yes", action="store_true", help="erase, rather than show what would be")
    parser.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="E-MAIL",
        help="an address of the person, for rejected rows whose id is damaged, where no table knows them any more",
    )
    parser.add_argument("--schema-name", help="else BUSINESS_TRACKING_SCHEMA")
    parser.add_argument("--blocks", help="the name under which the blocks are saved; else the environment")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    try:
        with prefect_api():
            erasure = Erasure(
                Person(options.person, addresses=frozenset(options.address)), options.schema_name, options.blocks
            )
            with one_run_an_account(options.blocks):  # so that no extract publishes in the meantime
                return 0 if run(erasure, is_meant=options.yes) else 1
    except PipelineError as error:
        said = str(error)
        if options.yes and "Nothing was changed" in said and not isinstance(error, ConfigError):
            said = said.replace("Nothing was changed", "What was erased until then stays erased")
        sys.stderr.write(f"{type(error).__name__}: {said}\n")
    except httpx.HTTPError as error:
        sys.stderr.write(
            f"Prefect could not be asked ({type(error).__name__}). Check PREFECT_API_URL, and run again.\n"
        )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
