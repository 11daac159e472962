"""Scopes that have rows in the table but are no longer listed by the LMS; their rows are not changed."""

from prefect import task

from tasks.columns import DEPARTED_AT
from tasks.load.database import execute, quoted, transaction
from tasks.load.schema import TableSchema
from tasks.log import run_logger
from tasks.task_options import IN_MEMORY, RETRIED

NAMED = 20
"""As many are named in the report."""


@task(name="find-gone-scopes", **IN_MEMORY, **RETRIED)
def find_gone_scopes(table: TableSchema, seen: frozenset[str], *, blocks: str | None = None) -> str:
    """Those scopes with the number of their rows, for the report; empty where there are none.

    Args:
        seen: the ids of all that the LMS lists.
    """
    column = table.stream.scope_column
    if table.column(column) is None:
        return ""
    present = f"WHERE {DEPARTED_AT} IS NULL" if table.column(DEPARTED_AT) is not None else ""
    with transaction(blocks) as cursor:
        execute(cursor, "scopes_stored", table=table.quoted, scope_column=quoted(column), present=present)
        stored = cursor.fetchall()
    gone = [f"{scope_id} ({rows} {table.stream.items})" for scope_id, rows in stored if scope_id not in seen]
    if gone:
        run_logger().warning(
            "%d %s(s) have rows in %s but are not visible to this account: %s", len(gone),
            table.stream.scope, table.quoted, ", ".join(gone[:NAMED]),
        )  # fmt: skip
    return ", ".join(gone[:NAMED]) + (f" and {len(gone) - NAMED} more" if len(gone) > NAMED else "")
