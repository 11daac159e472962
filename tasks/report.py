"""The end-of-run report: one log line, one artifact and one return value, all with the same numbers."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from prefect.artifacts import create_markdown_artifact

from tasks.log import run_logger
from tasks.text import quoted_code

COUNTS = ("read", "inserted", "updated", "unchanged", "duplicates", "rejected", "departed", "returned")
"""What a load counts, in the order in which people read it."""


class RunReport:
    """What the extract or the load did: a frozen dataclass of plain values, and its page for Prefect's UI."""

    outcome: str

    def markdown(self) -> str:
        """The page, as Markdown; its texts are used as they are."""
        raise NotImplementedError


def publish_report(key: str, report: Any) -> dict[str, Any]:
    """Log a RunReport as one line and show it as an artifact; returns its values by name."""
    show(key, report)
    return log_report(report)


def log_report(report: Any) -> dict[str, Any]:
    """Log a RunReport as one line; returns its values by name."""
    values = asdict(report)
    given = (
        f"{name}={value}" for name, value in values.items() if value not in (None, "") and type(value) is not tuple
    )
    run_logger().info("%s", " ".join(given))
    return values


def show(key: str, report: Any) -> None:
    """Show a RunReport as an artifact of the run; where Prefect does not take it, the log has its numbers."""
    safe = replace(
        report, **{name: quoted_code(value) for name, value in asdict(report).items() if isinstance(value, str)}
    )
    try:
        create_markdown_artifact(safe.markdown(), key=key, description=f"{key}: {safe.outcome}")
    except Exception as error:
        run_logger().warning("the report could not be shown (%s); its numbers are in this log", type(error).__name__)


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table, numbers to the right."""
    heads = list(heads)
    lines = ["| " + " | ".join(heads) + " |", "|" + "---:|" * len(heads)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def notes(found: dict[str, Any]) -> list[str]:
    """An empty line, then a list item for each non-empty value, as code so that it is not read as Markdown."""
    return ["", *(f"- **{what}:** `{value}`" for what, value in found.items() if value)]


def rate(rows: int, seconds: float) -> str:
    """Rows per second."""
    return f"{rows / seconds:,.0f}" if seconds else ""
