"""The rooms and their arrows: who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("blocks", "tasks.extract", "tasks.load", "tasks", "commands", "flows", "webhooks", "sandbox", "benchmarks")
MAY_IMPORT = {
    "blocks": set[str](),
    "tasks": {"blocks"},
    "tasks.extract": {"tasks", "blocks"},
    "tasks.load": {"tasks", "blocks"},
    "commands": {"tasks.extract", "tasks.load", "tasks", "blocks"},
    "flows": {"commands", "tasks.extract", "tasks.load", "tasks"},
    "webhooks": {"tasks", "blocks"},
}
COMMANDS = {"blocks.save", "tasks.check", "tasks.ledger"}
"""What users run by these names; they do nothing but call `commands`."""


def room(module: str) -> str | None:
    return next((name for name in ROOMS if module == name or module.startswith(name + ".")), None)


def modules() -> dict[str, Path]:
    found = {}
    for name in MAY_IMPORT:
        for path in (ROOT / name.replace(".", "/")).glob("*.py"):
            found[name if path.stem == "__init__" else f"{name}.{path.stem}"] = path
    return found


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names} | {node.module}
    return found


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_what_its_room_may(module: str) -> None:
    own = room(module)
    assert own is not None
    allowed = MAY_IMPORT[own] | {own} | ({"commands"} if module in COMMANDS else set())
    others = {found for name in imports(modules()[module]) if (found := room(name)) is not None}
    assert others <= allowed


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_by_its_old_name_only_calls(command: str) -> None:
    assert len(modules()[command].read_text("utf-8").splitlines()) < 10


def test_every_room_has_modules() -> None:
    assert {room(module) for module in modules()} == set(MAY_IMPORT)
