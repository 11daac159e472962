"""The settings of a run: each from the flow parameter, else the saved block, else the environment variable.

All missing or malformed values are reported together, before any request. Credentials stay in their blocks; this
module holds only names, which may be logged.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks import credentials
from tasks.columns import ColumnNames
from tasks.credentials import read_environment
from tasks.errors import ConfigError, PipelineError
from tasks.log import run_logger
from tasks.metadata import GUID
from tasks.s3 import S3Object, path_problem, s3_access
from tasks.streams import STREAMS, Scope, Stream

DEFAULT_SCHEMA = "public"


@dataclass(frozen=True)
class ExtractSettings:
    """Which scopes are read, and where the CSV of each goes."""

    scopes: tuple[Scope, ...]
    bucket: str
    path_template: str
    names: ColumnNames


@dataclass(frozen=True)
class LoadSettings:
    """Which table is loaded."""

    schema: str
    tables: Mapping[str, str]
    """One for each stream, by its name, as the environment says."""
    table: str | None = None
    """The one that a parameter names, whatever the stream."""

    def tables_with(self, stream: Stream) -> Mapping[str, str]:
        """Each stream's table, where `stream` is the one that is loaded."""
        return {**self.tables, **({stream.name: self.table} if self.table else {})}


@dataclass
class Resolver:
    """Collects values and, beside them, everything that is wrong with them."""

    blocks: str | None
    environment: Mapping[str, str] = field(default_factory=read_environment)
    problems: list[str] = field(default_factory=list)

    def value(self, parameter: str | None, name: str, default: str | None = None) -> str:
        """A flow parameter, else the variable `name`, else the default, else a problem."""
        found = parameter or self.environment.get(name) or default
        if found is None:
            self.problems.append(f"{name} is not set")
        return found or ""

    def credentials(self, *kinds: str) -> None:
        """Check that each of these blocks can be loaded from the block set or the environment."""
        for kind in kinds:
            try:
                getattr(credentials, kind)(self.blocks)
            except ConfigError as error:
                self.problems += error.problems or [error.message]

    def hash_key(self) -> None:
        """Check that a hash key is available."""
        try:
            if credentials.hash_key(self.blocks) is None:
                self.problems.append("LMS_HASH_COLUMNS is set, but LMS_HASH_KEY is not")
        except ConfigError as error:
            self.problems += error.problems or [error.message]

    def bucket(self, parameter: str | None) -> str:
        """The flow parameter, else the bucket of the block set or of the environment."""
        try:
            block = credentials.s3_bucket(self.blocks)
        except ConfigError as error:
            # with a `bucket` parameter and no blocks, S3_BUCKET_NAME need not be set
            if not parameter or self.blocks:
                self.problems += error.problems or [error.message]
            return parameter or ""
        name = parameter or block.bucket_name
        try:
            with s3_access(S3Object(name, ""), self.blocks):
                pass  # the client takes its settings; it is kept, and signs in only when it is used
        except PipelineError as error:
            self.problems.append(error.message)
        return name

    def finish(self) -> None:
        """Log where the credentials come from, or raise ConfigError with every problem, one a line."""
        if self.problems:
            # one problem may be found by several steps
            raise ConfigError("fix these settings:", dict.fromkeys(self.problems))
        source = f"the blocks named {self.blocks!r}" if self.blocks else "the environment"
        run_logger().info("credentials come from %s", source)


def extract_settings(
    resolver: Resolver,
    stream: Stream,
    scope_id: str | None,
    bucket: str | None,
    path: str | None,
    column_names: Mapping[str, str] | None,
    exclude_columns: list[str] | None,
    hash_columns: list[str] | None = None,
    *,
    expand: bool = False,
) -> ExtractSettings:
    """What an extract works with; what is wrong goes to `resolver.problems`.

    Args:
        scope_id: the scope's id, or several, separated by commas.
        expand: more are found below it.
    """
    resolver.credentials("lms_account", "alert_topic")
    scopes = scopes_of(resolver, stream, scope_id)
    template = resolver.value(path, stream.path_setting, stream.default_path)
    if problem := path_problem(template, stream, several=expand or len(scopes) > 1):
        resolver.problems.append(f"{stream.path_setting}: {problem}")
    return ExtractSettings(
        scopes=scopes,
        bucket=resolver.bucket(bucket),
        path_template=template,
        names=column_names_from(resolver, stream, column_names, exclude_columns, hash_columns),
    )


def scopes_of(resolver: Resolver, stream: Stream, scope_ids: str | None) -> tuple[Scope, ...]:
    """The scopes that are asked for, each once, in their order."""
    found = resolver.value(scope_ids, stream.scope_setting)
    ids = dict.fromkeys(each.strip().lower() for each in found.split(",") if each.strip())
    if found and not (ids and all(re.fullmatch(GUID, each) for each in ids)):
        resolver.problems.append(
            f"{stream.scope_setting} must be a GUID like 5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11, or several, separated "
            "by commas"
        )
    return tuple(Scope(stream, each) for each in ids)


def load_settings(resolver: Resolver, schema: str | None, table: str | None) -> LoadSettings:
    """What a load works with; what is wrong goes to `resolver.problems`. A `table` is for any stream."""
    resolver.credentials("database", "alert_topic")
    return LoadSettings(
        schema=schema or resolver.environment.get("BUSINESS_TRACKING_SCHEMA", DEFAULT_SCHEMA),
        tables={name: resolver.environment.get(stream.table_setting, stream.table) for name, stream in STREAMS.items()},
        table=table,
    )


def source_object(
    resolver: Resolver, stream: Stream, bucket: str | None, key: str | None, version_id: str | None
) -> S3Object:
    """The object that an event or an operator names, else the one that the environment's path names."""
    name = resolver.bucket(bucket)
    if key:
        return S3Object(name, key, version_id or None)
    template = resolver.value(None, stream.path_setting, stream.default_path)
    if "{snapshot_at" in template:
        resolver.problems.append(
            f"{stream.path_setting} contains {{snapshot_at}}, so it does not name a single object; give the key (--key)"
        )
    elif problem := path_problem(template, stream):
        resolver.problems.append(f"{stream.path_setting}: {problem}")
    elif f"{{{stream.scope_column}" in template:
        scopes = scopes_of(resolver, stream, None)
        if len(scopes) > 1:
            resolver.problems.append(
                f"{stream.scope_setting} names several, so {stream.path_setting} does not name a single object; give "
                "the key (--key)"
            )
        template = template.format(**{stream.scope_column: scopes[0].id if scopes else ""})
    return S3Object(name, template, version_id or None)


def names_from(resolver: Resolver, parameter: list[str] | None, name: str) -> frozenset[str]:
    """A flow parameter, else the names that the variable `name` lists, separated by commas."""
    names = resolver.environment.get(name, "").split(",") if parameter is None else parameter
    return frozenset(filter(None, map(str.strip, names)))


def column_names_from(
    resolver: Resolver,
    stream: Stream,
    renamed: Mapping[str, str] | None,
    excluded: list[str] | None,
    hashed: list[str] | None,
) -> ColumnNames:
    """The user's column names over the API's, and which columns are left out or hashed."""
    if renamed is None:
        try:
            renamed = json.loads(resolver.environment.get("LMS_COLUMN_NAMES", "{}"))
        except ValueError:
            renamed = None
        if not isinstance(renamed, dict) or not all(isinstance(name, str) and name for name in renamed.values()):
            resolver.problems.append('LMS_COLUMN_NAMES must be a JSON object like {"externalId": "illum_id"}')
            renamed = {}
    left_out = names_from(resolver, excluded, "LMS_EXCLUDE_COLUMNS")
    to_hash = names_from(resolver, hashed, "LMS_HASH_COLUMNS")
    if to_hash:
        resolver.hash_key()
    try:
        return ColumnNames(dict(renamed), left_out, stream, to_hash)
    except ConfigError as error:
        resolver.problems.append(f"LMS_COLUMN_NAMES, LMS_EXCLUDE_COLUMNS, LMS_HASH_COLUMNS: {error}")
        return ColumnNames(stream=stream)
