"""The runbook quotes what the code says: each quoted sentence is found in the code, else nobody finds its page."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.stack import ROOT

PAGES = sorted((ROOT / "docs" / "runbook").glob("*.md"))
COMMANDS = re.compile(
    r"(prefect|python|aws|curl|systemctl|journalctl|sudo|nohup|kill|pip|cd|sns|rds|SELECT|GRANT|ALTER|COLUMNS|ulimit) ?|--|-p |/|[A-Z_]+=|\\"
)
OF_OTHERS = {
    "Failed to submit": "prefect/workers/base.py",
    "exited with … -9": "prefect/runner/runner.py",
    "No module named": "Python",
    "canceling statement due to statement timeout": "PostgreSQL, tcop/postgres.c",
    "could not be … imported": "prefect",
}
"""What Prefect, Python or PostgreSQL says, in its words."""
HOLE = "#"


def sayings() -> set[str]:
    """Every text in the code, with a hole for each value and number in it."""
    files = [
        path for room in ("tasks", "blocks", "commands", "flows", "webhooks") for path in (ROOT / room).rglob("*.py")
    ]
    return {holes(text) for path in files for text in texts(path)}


def texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def holes(text: str) -> str:
    """
    >>> holes("answered 403: %s, {hours:g} h, no block …/NAME")
    'answered #: #, # h, no block #/#'
    """
    return re.sub(r"%\.?\d*[sdfr]|\{[^}]*\}|\d[\d,.]*\d|\d|…|\bNAME\b|#+", HOLE, text)


def quotes(page: Path) -> list[str]:
    """The sentences that a page quotes: code of several words that is no command."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = [" ".join(quote.split()) for quote in re.findall(r"`([^`]+)`", text)]
    return [quote for quote in found if " " in quote and not COMMANDS.match(quote)]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_sentence_that_a_page_quotes_is_one_that_the_code_says(page: Path) -> None:
    said = sayings()
    unsaid = [
        quote
        for quote in quotes(page)
        if quote not in OF_OTHERS and not any(holes(quote).strip(f"{HOLE} ") in saying for saying in said)
    ]
    assert unsaid == []


def test_the_pages_quote_something() -> None:
    assert sum(len(quotes(page)) for page in PAGES) > 40
