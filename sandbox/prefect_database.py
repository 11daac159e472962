"""Prefect's tables on the embedded PostgreSQL: `python -m sandbox.prefect_database`, before its server starts.

The embedded build lacks the extension pg_trgm, by which Prefect indexes names for searches. Its own
migrations run here with plain indexes in their place; to Prefect nothing else differs.
"""

import re
from typing import Any

import anyio
import anyio.to_thread
from prefect.server.database.alembic_commands import alembic_upgrade
from sqlalchemy import Engine, event


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def without_trigrams(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    """The statement without the extension."""
    if "EXTENSION IF NOT EXISTS pg_trgm" in statement:
        statement = "SELECT 1"
    return re.sub(r"USING gin \((.+?) gin_trgm_ops\)", r"(\1)", statement, flags=re.IGNORECASE), parameters


async def upgrade() -> None:
    """Run the migrations, in a thread as Prefect does."""
    await anyio.to_thread.run_sync(lambda: alembic_upgrade())


if __name__ == "__main__":
    anyio.run(upgrade)
