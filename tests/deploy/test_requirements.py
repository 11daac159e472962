"""requirements.in names every package that the product's own modules import, and each pin has its hashes."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("flows", "commands", "tasks", "blocks", "webhooks")


def imported() -> set[str]:
    found = set()
    for path in (path for folder in OURS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(OURS) - sys.stdlib_module_names


def plain(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def test_every_import_is_named() -> None:
    lines = (ROOT / "requirements.in").read_text("utf-8").splitlines()
    named = {plain(re.split(r"[=<>\[ ]", line)[0]) for line in lines if line and not line.startswith("#")}
    distributions = packages_distributions()
    missing = {name for name in imported() if not named & {plain(of) for of in distributions[name]}}
    assert missing == set()


def test_every_pin_has_its_hashes() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        pins = re.findall(r"^([a-z0-9][^\n]*?==[^\n]*)\n( +\S+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
        assert len(pins) > 100
        assert [pin for pin, below in pins if not below.strip().startswith("--hash=sha256:")] == []
