"""What was measured, as a table with ratios, and beside the goals."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.bench import REFERENCES, Bench, Figure
from benchmarks.organisation import organisation_table
from sandbox.stack import ROOT

RESULTS = ROOT / "benchmarks" / "results.md"
NOTES = ROOT / "benchmarks" / "notes.md"
PLOT = ROOT / "benchmarks" / "results.svg"
# name: what it is called, the reference it stands beside
ROWS: dict[str, tuple[str, str | None]] = {
    "throw away": ("pages fetched and thrown away", None),
    "extract": ("**extract**: sign in, fetch, flatten, write", "throw away"),
    "psql new": ("psql: COPY and upsert, all new", None),
    "psql changed": ("psql: COPY and upsert, all there", None),
    "row by row": ("one INSERT … ON CONFLICT a row, all new", "psql new"),
    "load new": ("**load**, all new", "psql new"),
    "load unchanged": ("**load**, nothing changed", "psql changed"),
    "load 1%": ("**load**, 1 % changed", "psql changed"),
    "load 10%": ("**load**, 10 % changed", "psql changed"),
    "load 50%": ("**load**, 50 % changed", "psql changed"),
    "load changed": ("**load**, all changed", "psql changed"),
    "staged unchanged": ("load without fingerprints, nothing changed", "psql changed"),
    "staged 1%": ("load without fingerprints, 1 % changed", "psql changed"),
    "staged 10%": ("load without fingerprints, 10 % changed", "psql changed"),
    "staged 50%": ("load without fingerprints, 50 % changed", "psql changed"),
    "history new": ("**load** with history, all new", "load new"),
    "history 1%": ("**load** with history, 1 % changed", "load 1%"),
    "load ten uncastable": ("**load**, all changed, ten rows that no cast takes", "load changed"),
    "load ten refused": ("**load**, all changed, ten rows that a CHECK refuses", "load changed"),
    "load trigger": ("**load**, all changed, into a table with a trigger", "load changed"),
    "load ten by trigger": ("**load**, the same, ten rows that the trigger refuses", "load trigger"),
    "empty flow": ("an empty flow as a script, with the same imports", None),
    "sync new": ("**department_sync** as a script, all new", "dlt new"),
    "sync unchanged": ("**department_sync** as a script, nothing changed", "dlt unchanged"),
    "dlt new": ("dlt, all new", None),
    "dlt unchanged": ("dlt, nothing changed", None),
    "latency 1": ("fetch, pages with 200 ms latency, 1 connection", None),
    "latency 8": ("**fetch**, pages with 200 ms latency, 8 connections", "latency 1"),
}
WHOLE = {"empty flow", "sync new", "sync unchanged", "dlt new", "dlt unchanged"}


def cost(name: str, figure: Figure) -> float:
    """Seconds: of the whole process where that is what one waits for, else of the step alone."""
    return figure.wall if name in WHOLE else figure.seconds


def table(bench: Bench) -> list[str]:
    """The rows of one size."""
    lines = []
    for name, (what, reference) in ROWS.items():
        if name not in bench.figures:
            continue
        seconds = cost(name, bench.figures[name])
        beside = f"× {seconds / cost(reference, bench.figures[reference]):.2f} of {reference}" if reference else ""
        peak = f"{bench.figures[name].peak_mb:,.0f}" if bench.figures[name].peak_mb else ""
        lines.append(
            f"| {bench.members:,} | {what} | {seconds:.2f} | {bench.figures[name].spread:.0%} | "
            f"{bench.members / seconds:,.0f} | {peak} | {beside} |"
        )
    return lines


def goals(bench: Bench, smaller: Bench | None) -> list[str]:
    """Each goal, and how far it is; they are set for 100,000 members and more."""
    if bench.members < 100_000:
        return []
    seconds = {name: cost(name, figure) for name, figure in bench.figures.items()}
    own = seconds["sync new"] - seconds["empty flow"]
    hundred_thousands = bench.members / 100_000
    large = bench.members >= 1_000_000
    rows = [
        ("load, all new, beside psql", seconds["load new"] / seconds["psql new"], 1.35, "×"),
        ("load, nothing changed, beside psql", seconds["load unchanged"] / seconds["psql changed"], 0.3, "×"),
        ("load, 1 % changed, beside psql", seconds["load 1%"] / seconds["psql changed"], 0.3, "×"),
        ("extract beyond the pages thrown away, a 100,000 members",
         (seconds["extract"] - seconds["throw away"]) / hundred_thousands, 2.5, "s"),
        ("department_sync less an empty flow, beside dlt", own / seconds["dlt new"], 0.25 if large else 0.33, "×"),
        ("department_sync, Prefect's start included, beside dlt",
         seconds["sync new"] / seconds["dlt new"], 0.3 if large else 0.65, "×"),
        ("peak memory beyond an empty flow",
         bench.figures["sync new"].peak_mb - bench.figures["empty flow"].peak_mb, 150, "MB"),
    ]  # fmt: skip
    if smaller is not None and large:
        growth = bench.figures["sync new"].peak_mb / smaller.figures["sync new"].peak_mb
        rows.append((f"peak memory beside that of {smaller.members:,} members", growth, 1.2, "×"))
    if "latency 8" in seconds:
        rows.append(("8 connections beside 1, 200 ms latency", seconds["latency 8"] / seconds["latency 1"], 1 / 6, "×"))
    met = {True: "yes", False: "no"}
    return [
        f"| {bench.members:,} | {what} | {limit:.2f} {unit} | {found:.2f} {unit} | {met[found <= limit]} |"
        for what, found, limit, unit in rows
    ]


def write(
    benches: list[Bench],
    floor: Mapping[str, float],
    enrollments: list[tuple[str, float, float]],
    webhooks: list[tuple[str, float, float]],
    organisation: list[tuple[str, float, str]],
) -> str:
    """All of it as Markdown, in benchmarks/results.md, with its plot; returns the text."""
    dlt = subprocess.run(
        [str(REFERENCES), "-c", "from importlib.metadata import version; print(version('dlt'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    packages = ", ".join(f"{name} {version(name)}" for name in ("prefect", "pandas", "pyarrow", "msgspec"))
    runs = ", ".join(f"{bench.runs} at {bench.members:,}" for bench in benches)
    sizes = "; ".join(f"{bench.members:,} are {bench.csv_bytes / 1e6:,.0f} MB of CSV" for bench in benches)
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`.",
        "",
        f"- Machine: {os.cpu_count()} cores, {memory_gb():.0f} GB, {platform.system()} {platform.machine()}; the",
        "  simulated LMS, moto's S3 and PostgreSQL run on it too.",
        f"- Versions: Python {platform.python_version()}, {packages}, PostgreSQL {benches[0].postgres.version}, "
        f"dlt {dlt}.",
        f"- Medians of several runs ({runs}; row by row, dlt and latency: 1), each in a process of its own. Machines",
        "  differ: compare the ratios.",
        f"- Members have 37 columns and 45 custom fields: {sizes}.",
        "- The spread is how far the slowest run was from the fastest, as a part of the median.",
        "- Seconds are of the step alone, after Python's start and imports; of flows and dlt, of the whole process.",
        "",
        "![seconds by members](results.svg)",
        "",
        "| members | what | seconds | spread | members/s | peak MB | beside its reference |",
        "|---|---|---|---|---|---|---|",
        *(line for bench in benches for line in table(bench)),
        "",
        "## Goals",
        "",
        "| members | what | goal, at most | found | met |",
        "|---|---|---|---|---|",
        *(line for n, bench in enumerate(benches) for line in goals(bench, benches[n - 1] if n else None)),
        "",
        *NOTES.read_text(encoding="utf-8").splitlines(),
        "",
        "## What Prefect costs",
        "",
        "An empty flow, in seconds; ours adds to it what the table above says.",
        "",
        "| how it runs | seconds |",
        "|---|---|",
        *(f"| {how} | {seconds:.2f} |" for how, seconds in floor.items()),
        "",
        *enrollment_table(enrollments),
        *webhook_table(webhooks),
        *organisation_table(organisation),
    ]  # fmt: skip
    RESULTS.write_text("\n".join(lines), encoding="utf-8")
    plot(benches)
    return "\n".join(lines)


def enrollment_table(found: list[tuple[str, float, float]]) -> list[str]:
    """What was run, how long it took, and its peak memory."""
    return [
        "## Course enrollments",
        "",
        "As a script that starts Prefect, from a plain HTTP server; each stored value was compared with what was sent.",
        "",
        "| what | seconds | peak MB |",
        "|---|---|---|",
        *(f"| {what} | {seconds:.2f} | {peak_mb:,.0f} |" for what, seconds, peak_mb in found),
        "",
    ]


def webhook_table(found: list[tuple[str, float, float]]) -> list[str]:
    """What the webhook service was asked, how long it took, and the goal."""
    return [
        "## The webhook service under load",
        "",
        "In front of a Prefect server with SQLite on the same machine. AWS waits 5 s (EventBridge) or 15 s (SNS).",
        "",
        "| what | seconds | goal, at most |",
        "|---|---|---|",
        *(f"| {what} | {seconds:.2f} | {goal:.1f} |" for what, seconds, goal in found),
        "",
    ]


def memory_gb() -> float:
    """This machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def plot(benches: list[Bench]) -> None:
    """benchmarks/results.svg: cost against size."""
    names = {
        "row by row": "row by row (load alone)",
        "dlt new": "dlt",
        "sync new": "department_sync as a script",
        "load new": "load alone",
        "psql new": "psql (load alone)",
    }
    lines = {
        label: [(bench.members, cost(name, bench.figures[name])) for bench in benches] for name, label in names.items()
    }
    command = [str(REFERENCES), str(Path(__file__).with_name("plot.py")), str(PLOT)]
    subprocess.run(command, input=json.dumps(lines), text=True, check=True)
