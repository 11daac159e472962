"""The documents hold: pages are there, links lead somewhere, and every command line is one that its program takes."""

import importlib
import inspect
import re
import runpy
import shlex
import sys
import warnings
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.cli._app import _app

from commands.flow_script import parser
from sandbox.stack import ROOT
from tasks.errors import PipelineError
from webhooks.alerts import TEXTS

RUNBOOK = ROOT / "docs" / "runbook"
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = {error.__name__ for error in PipelineError.__subclasses__()} | set(TEXTS) | {"Unexpected"}
SECTIONS = ["What it means", "Look", "Do", "Resolved when"]


def commands(program: str) -> list[str]:
    """Every command line of the documents that begins with that program, backslashes joined, once each."""
    found: set[str] = set()
    for path in DOCS:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = re.findall(rf"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*({program} .+)$", text, re.MULTILINE)
        inline = re.findall(rf"`({program} [^`]+)`", text)
        found |= {
            re.split(r" [>|] ", line)[0].replace("…", "x") for line in [*lines, *inline] if not line.endswith("…")
        }
    return sorted(found)


def test_the_runbook_has_a_page_for_each_error_and_alert_and_no_other() -> None:
    assert {path.stem for path in RUNBOOK.glob("*.md")} == PAGES | {"README"}
    index = (RUNBOOK / "README.md").read_text(encoding="utf-8")
    assert [page for page in PAGES if f"]({page}.md)" not in index] == []


@pytest.mark.parametrize("page", sorted(PAGES))
def test_each_page_says_what_it_means_how_to_look_what_to_do_and_when_it_is_over(page: str) -> None:
    text = (RUNBOOK / f"{page}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {page}: ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("path", DOCS, ids=[str(path.relative_to(ROOT)) for path in DOCS])
def test_every_link_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_every_flows_flags_exist() -> None:
    found = [line for line in commands("python") if re.match(r"python (flows/|-m flows\.)", line)]
    assert len(found) > 5
    for line in found:
        words = shlex.split(line)
        name = re.split(r"[/.]", words[1] if words[1].startswith("flows/") else words[2])[1]
        flags = words[2:] if words[1].startswith("flows/") else words[3:]
        if "--help" not in flags:
            parser(flow(name)).parse_args(flags)


def test_every_modules_flags_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By what `--help` lists."""
    found = [line for line in commands("python") if re.match(r"python (-m (?!flows)[a-z]|deploy/)", line)]
    assert len(found) > 5
    for name, lines in groupby(found, program):
        monkeypatch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit, match="^0$"):
            run(name)
        listed = capsys.readouterr().out
        flags = {flag for line in lines for flag in re.findall(r"(?<!\S)--[a-z-]+", line)}
        assert [flag for flag in flags if not re.search(rf"{flag}\b", listed)] == [], name


def program(line: str) -> str:
    """What Python is to run: a module or a file."""
    words = shlex.split(line)
    return words[2] if words[1] == "-m" else words[1]


def run(name: str) -> None:
    """What `python -m name` or `python name` does, without the seconds in which a process imports Prefect."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # the module may have been imported before
        if name.endswith(".py"):
            runpy.run_path(str(ROOT / name), run_name="__main__")
        else:
            runpy.run_module(name, run_name="__main__", alter_sys=True)


def test_every_prefect_command_is_one_that_prefect_takes() -> None:
    found = commands("prefect")
    assert len(found) > 15
    for line in found:
        words = shlex.split(line.replace("RUN-ID", "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11"))[1:]
        _app.parse_args([word for word in words if word != "--no-prompt"], print_error=False, exit_on_error=False)


def test_every_parameter_that_a_deployment_is_run_with_exists() -> None:
    found = [line for line in commands("prefect") if line.startswith("prefect deployment run")]
    assert len(found) > 5
    for line in found:
        name = shlex.split(line)[3].split("/")[0].replace("-", "_")
        given = re.findall(r" -p (\w+)=", line)
        assert set(given) <= set(inspect.signature(flow(name).fn).parameters), line


def flow(name: str) -> Flow[..., Any]:
    found = getattr(importlib.import_module(f"flows.{name}"), name)
    assert isinstance(found, Flow)
    return found
