"""What a person sees in Prefect's UI, as pictures by a headless Chromium; those of the documents among them.

SCREENSHOTS=docs/images make test-server ARGS="-k screens" takes them anew.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from sandbox.production import Production
from tests.server.test_walks import ends

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTH, HEIGHT = 1400, 900


def picture(url: str, path: Path) -> None:
    """The page at that address, once its scripts have drawn it."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    options += [f"--user-data-dir={path.parent}/profile", f"--window-size={WIDTH},{HEIGHT}"]
    options += ["--timeout=20000", "--virtual-time-budget=20000", f"--screenshot={path}"]
    subprocess.run([str(CHROMIUM), *options, url], check=True, capture_output=True, timeout=120)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.timeout(600)
def test_the_screens_show_the_runs_their_reports_and_the_watch(production: Production, tmp_path: Path) -> None:
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    production.box.lms.add_people(3000)
    before = len(production.runs("s3-to-rds"))
    extract = production.start("lms-to-s3")
    ends(production, extract, "COMPLETED")
    load = production.wait_for_run("s3-to-rds", before + 1)["id"]
    ui = production.server.url.removesuffix("/api")
    pages = {
        "run": f"{ui}/runs/flow-run/{extract}",
        "report-load": f"{ui}/artifacts/artifact/{artifact(production, load)}",
        "watch": f"{ui}/automations",
    }
    for name, url in pages.items():
        picture(url, tmp_path / f"{name}.png")
        data = (tmp_path / f"{name}.png").read_bytes()
        assert struct.unpack(">II", data[16:24]) == (WIDTH, HEIGHT)
        assert len(data) > 20_000  # an empty page has fewer
        if folder != tmp_path:
            shutil.copy(tmp_path / f"{name}.png", folder)


def artifact(production: Production, run_id: str) -> str:
    """The report of a run."""
    found = production.api("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run_id]}}})
    return str(next(each["id"] for each in found if each["type"] == "markdown"))
