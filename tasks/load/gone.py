"""Scopes that have rows in the table but are no longer listed by the LMS; their rows are not changed."""

from prefect import task

from tasks.columns import DEPARTED_AT
from tasks.load.database import execute, quoted, transaction
from tasks.log import run_logger
from tasks.settings import LoadSettings
from tasks.streams import Stream
from tasks.task_options import IN_MEMORY, RETRIED

NAMED = 20
"""As many are named in the report."""


@task(name="find-gone-scopes", **IN_MEMORY, **RETRIED)
def find_gone_scopes(
    settings: LoadSettings, stream: Stream, seen: frozenset[str], read: frozenset[str], *, blocks: str | None = None
) -> dict[str, str]:
    """Those scopes with the number of their rows, for the report: by what is the matter with them.

    Args:
        seen: the ids of all that the LMS lists.
        read: the ids of those that this run was to read.
    """
    table = quoted(settings.schema, settings.tables_with(stream)[stream.name])
    with transaction(blocks) as cursor:
        execute(cursor, "columns", {"table": table})
        columns = {name for name, *_ in cursor.fetchall()}
        if stream.scope_column not in columns:
            return {}
        present = f"WHERE {DEPARTED_AT} IS NULL" if DEPARTED_AT in columns else ""
        execute(cursor, "scopes_stored", table=table, scope_column=quoted(stream.scope_column), present=present)
        stored = cursor.fetchall()
    rows = {scope_id: f"{scope_id} ({count} {stream.item_noun})" for scope_id, count in stored}
    gone = [line for scope_id, line in rows.items() if scope_id not in seen]
    unread = [line for scope_id, line in rows.items() if scope_id in seen - read]
    if gone:
        run_logger().warning(
            "%d %s(s) have rows in %s but are not visible to this account: %s", len(gone),
            stream.scope_noun, table, named(gone),
        )  # fmt: skip
    found = {
        "In the table but no longer listed by the LMS": named(gone),
        "In the table but not read by this run": named(unread),
    }
    return {what: lines for what, lines in found.items() if lines}


def named(lines: list[str]) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(lines[:NAMED]) + (f" and {len(lines) - NAMED} more" if len(lines) > NAMED else "")
