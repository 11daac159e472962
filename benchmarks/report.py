"""What was measured, as a table with ratios, and compared with the goals."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.bench import REFERENCES, Bench
from benchmarks.organisation import organisation_table
from sandbox.stack import ROOT

RESULTS = ROOT / "benchmarks" / "results.md"
NOTES = ROOT / "benchmarks" / "notes.md"
PLOT = ROOT / "benchmarks" / "results.svg"
SHOWN_SHARES = {"unchanged": 0, "1%": 1, "10%": 10, "50%": 50, "changed": 100}
# name: what it is called, the reference it is compared with
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
    "staged changed": ("load without fingerprints, all changed", "psql changed"),
    "history new": ("**load** with history, all new", "load new"),
    "history 1%": ("**load** with history, 1 % changed", "load 1%"),
    "load ten uncastable": ("**load**, all changed, ten rows that no cast takes", "load changed"),
    "load ten refused": ("**load**, all changed, ten rows that a CHECK refuses", "load changed"),
    "load trigger": ("**load**, all changed, into a table with a trigger", "load changed"),
    "load ten by trigger": ("**load**, the same, ten rows that the trigger refuses", "load trigger"),
    "usual flow": ("an empty flow, started as Prefect starts one, with the same imports", None),
    "empty flow": ("an empty flow as a script", "usual flow"),
    "sync new": ("**department_sync** as a script, all new", "dlt new"),
    "sync unchanged": ("**department_sync** as a script, nothing changed", "dlt unchanged"),
    "dlt new": ("dlt, all new", None),
    "dlt unchanged": ("dlt, nothing changed", None),
    "latency 1": ("fetch, pages with 200 ms latency, 1 connection", None),
    "latency 8": ("**fetch**, pages with 200 ms latency, 8 connections", "latency 1"),
}


def costs(bench: Bench, name: str) -> list[float]:
    """The seconds of each run."""
    return [run.seconds for run in bench.runs[name]]


def cost(bench: Bench, name: str) -> float:
    """The median of the runs, in seconds."""
    return median(costs(bench, name))


def peak_mb(bench: Bench, name: str) -> float:
    """The median of the runs' peaks, in MB."""
    return median(run.peak_mb for run in bench.runs[name])


def ratios(bench: Bench, name: str, reference: str) -> list[float]:
    """Each run divided by its reference in the same round, or by the reference's median if that was run less often."""
    own, others = costs(bench, name), costs(bench, reference)
    beside = others if len(own) == len(others) else [median(others)] * len(own)
    return sorted(seconds / other for seconds, other in zip(own, beside, strict=True))


def spread(found: list[float], unit: str) -> str:
    """The median, and the least and the most if there are several.

    >>> spread([0.5, 1.0, 2.0], "×"), spread([0.5], "×")
    ('1.00 × (0.50 to 2.00)', '0.50 ×')
    """
    several = f" ({min(found):.2f} to {max(found):.2f})" if len(found) > 1 else ""
    return f"{median(found):.2f} {unit}{several}"


def table(bench: Bench) -> list[str]:
    """The rows for one size."""
    lines = []
    for name, (what, reference) in ROWS.items():
        if name not in bench.runs:
            continue
        seconds = cost(bench, name)
        beside = ""
        if reference in bench.runs:
            of = ROWS[reference][0].replace("**", "")
            beside = f"{spread(ratios(bench, name, reference), '×')} of {of}"
        peak = f"{peak_mb(bench, name):,.0f}" if peak_mb(bench, name) else ""
        lines.append(
            f"| {bench.members:,} | {what} | {seconds:.2f} | {bench.members / seconds:,.0f} | {peak} | {beside} |"
        )
    return lines


def goals(bench: Bench) -> list[str]:
    """Each goal, and what was measured; all but the first apply to 100,000 members or more."""
    rows: list[tuple[str, list[float], float, str]] = []
    if bench.members <= 3_000:
        rows = [
            ("department_sync as a script, compared with an empty flow started as usual",
             ratios(bench, "sync new", "usual flow"), 0.75, "×"),
        ]  # fmt: skip
    if bench.members >= 100_000:
        large = bench.members >= 1_000_000
        beyond = zip(costs(bench, "extract"), costs(bench, "throw away"), strict=True)
        memory = max(peak_mb(bench, name) for name in ("sync new", "sync unchanged")) - peak_mb(bench, "empty flow")
        rows = [
            ("load, all new, compared with psql", ratios(bench, "load new", "psql new"), 1.35, "×"),
            ("load, nothing changed, compared with psql", ratios(bench, "load unchanged", "psql changed"), 0.3, "×"),
            ("load, 1 % changed, compared with psql", ratios(bench, "load 1%", "psql changed"), 0.3, "×"),
            ("extract beyond the pages thrown away, a 100,000 members",
             [(own - other) / (bench.members / 100_000) for own, other in beyond], 2.0, "s"),
            ("department_sync, Prefect's start included, compared with dlt",
             ratios(bench, "sync new", "dlt new"), 0.25 if large else 0.65, "×"),
            ("peak memory beyond an empty flow", [memory], 150, "MB"),
            ("load with history, all new, compared with none", ratios(bench, "history new", "load new"), 1.4, "×"),
            ("load with history, 1 % changed, compared with none", ratios(bench, "history 1%", "load 1%"), 1.1, "×"),
        ]  # fmt: skip
        if "latency 8" in bench.runs:
            eight = ratios(bench, "latency 8", "latency 1")
            rows.append(("8 connections compared with 1, 200 ms latency", eight, 1 / 6, "×"))
    met = {True: "yes", False: "no"}
    return [
        f"| {bench.members:,} | {what} | {limit:.2f} {unit} | {spread(found, unit)} | {met[median(found) <= limit]} |"
        for what, found, limit, unit in rows
    ]


def write(
    benches: list[Bench],
    floor: Mapping[str, float],
    enrollments: list[tuple[str, float, float]],
    webhooks: list[tuple[str, float, float]],
    organisation: list[tuple[str, float, str]],
) -> str:
    """Write everything as Markdown to benchmarks/results.md, and draw the plot; return the text."""
    dlt = subprocess.run(
        [str(REFERENCES), "-c", "from importlib.metadata import version; print(version('dlt'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    packages = ", ".join(f"{name} {version(name)}" for name in ("prefect", "pandas", "pyarrow", "msgspec"))
    rounds = ", ".join(f"{bench.rounds} at {bench.members:,}" for bench in benches)
    sizes = "; ".join(f"{bench.members:,} are {bench.csv_bytes / 1e6:,.0f} MB of CSV" for bench in benches)
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`.",
        "",
        f"- Machine: {os.cpu_count()} cores, {memory_gb():.0f} GB, {platform.system()} {platform.machine()}; the",
        "  simulated LMS, rclone's S3 and PostgreSQL run on it too.",
        f"- Versions: Python {platform.python_version()}, {packages}, PostgreSQL {benches[0].postgres.version}, "
        f"dlt {dlt}.",
        f"- Rounds: {rounds}; row by row, dlt and latency once. In each round everything is measured once, in a",
        "  process of its own. Seconds are medians; ratios are those of one round, median (least to most). Machines",
        "  differ: compare the ratios.",
        f"- Members have 37 columns and 45 custom fields: {sizes}.",
        "- Seconds are of the step alone, after Python's start and imports; of scripts and dlt, of the whole process.",
        "- psql's upsert writes every row, changed or not, as two home-made steps do, and proves nothing.",
        "",
        "![seconds by members, and by the share of changed rows](results.svg)",
        "",
        "| members | what | seconds | members/s | peak MB | compared with |",
        "|---|---|---|---|---|---|",
        *(line for bench in benches for line in table(bench)),
        "",
        "## Goals",
        "",
        "| members | what | goal, at most | found | met |",
        "|---|---|---|---|---|",
        *(line for bench in benches for line in goals(bench)),
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
    """What the webhook service was sent, how long it took, and the goal."""
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
    """Draw benchmarks/results.svg: cost against size, and against the share of changed rows."""
    names = {
        "row by row": "row by row (load alone)",
        "dlt new": "dlt",
        "sync new": "department_sync as a script",
        "load new": "load alone",
        "psql new": "psql (load alone)",
    }
    sizes = {
        label: [(bench.members, cost(bench, name)) for bench in benches if name in bench.runs]
        for name, label in names.items()
    }
    bench = max((each for each in benches if "staged 1%" in each.runs), key=lambda each: each.members, default=None)
    if bench is None:
        return
    shares = {
        label: [(share, cost(bench, f"{name} {suffix}")) for suffix, share in SHOWN_SHARES.items()]
        for name, label in {"load": "load", "staged": "load without fingerprints"}.items()
    }
    shares["psql, all there"] = [(share, cost(bench, "psql changed")) for share in SHOWN_SHARES.values()]
    drawn = {"sizes": sizes, "shares": shares, "members": bench.members}
    command = [str(REFERENCES), str(Path(__file__).with_name("plot.py")), str(PLOT)]
    subprocess.run(command, input=json.dumps(drawn), text=True, check=True)
