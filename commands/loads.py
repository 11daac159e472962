"""Show the last loads: `python -m tasks.ledger --last 10`."""

import argparse
import logging
import sys
from typing import Any

from tasks.errors import PipelineError
from tasks.load.database import execute, quoted, transaction
from tasks.load.ledger import LEDGER
from tasks.settings import Resolver, load_settings
from tasks.text import one_line


def last_loads(schema: str, count: int, blocks: str | None) -> list[dict[str, Any]]:
    """The last loads of every table in a schema, newest first."""
    with transaction(blocks) as cursor:
        execute(cursor, "ledger_last", {"count": count}, ledger=quoted(schema, LEDGER))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def main() -> int:
    """Print the last loads as a table."""
    parser = argparse.ArgumentParser(prog="python -m tasks.ledger", description="Show the last loads.")
    parser.add_argument("--last", type=int, default=10, metavar="N", help="how many loads to show (default 10)")
    parser.add_argument("--schema-name", help="the schema of the ledger; default: BUSINESS_TRACKING_SCHEMA")
    parser.add_argument("--blocks", help="the name of the saved blocks; default: environment variables")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    try:
        loads = last_loads(
            load_settings(Resolver(options.blocks), options.schema_name, None).schema,
            options.last,
            options.blocks,
        )
    except PipelineError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    rows = (
        [list(loads[0]), *([one_line(str(value)) for value in load.values()] for load in loads)]
        if loads
        else [["no loads"]]
    )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        sys.stdout.write("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() + "\n")
    return 0
