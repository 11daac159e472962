"""What a run tells at its end: one log line, one artifact to look at, one small report, all with the same numbers."""

from collections.abc import Iterable
from typing import Any

from prefect.artifacts import create_markdown_artifact

from tasks.departures import NAMED
from tasks.fetch import RawSnapshot
from tasks.flatten import FlatSnapshot
from tasks.loaded import Loaded
from tasks.log import run_logger
from tasks.publish import Published
from tasks.s3 import Snapshot
from tasks.schema import TableSchema
from tasks.text import quoted_code

Report = dict[str, Any]
LOAD_COUNTS = ("read", "inserted", "updated", "unchanged", "duplicates", "rejected", "departed", "returned")


def extract_report(raw: RawSnapshot, flat: FlatSnapshot, published: Published, *, dry_run: bool) -> Report:
    """What `lms_to_s3` did."""
    return {
        "outcome": "dry run" if dry_run else "published",
        "object": str(published.object),
        "department_id": raw.department_id,
        "snapshot_at": raw.snapshot_at.isoformat(timespec="seconds"),
        "members": published.rows,
        "previous_members": published.previous_rows,
        "in_subdepartments": raw.subdepartment_rows,
        "pages": raw.pages,
        "sweeps": raw.sweeps,
        "sign_ins": raw.sign_ins,
        "retries": raw.retries,
        "mended_characters": raw.mended_characters,
        "unknown_keys": ", ".join(flat.unknown_keys),
        "bytes": flat.bytes,
        "fetch_seconds": round(raw.seconds, 2),
        "flatten_seconds": round(flat.seconds, 2),
        "write_seconds": round(published.seconds, 2),
    }


def load_report(snapshot: Snapshot, table: TableSchema, loaded: Loaded, *, dry_run: bool) -> Report:
    """What `s3_to_rds` did."""
    outcome = f"skipped: {loaded.skipped}" if loaded.skipped else "dry run" if dry_run else "loaded"
    return {
        "outcome": outcome,
        "object": str(snapshot.object),
        "table": table.quoted,
        **loaded.counts(),
        "rejects": str(loaded.rejects or ""),
        "rejected_because": loaded.rejected_because,
        "ignored_columns": ", ".join(loaded.ignored_columns),
        "added_columns": ", ".join(loaded.added_columns),
        "altered_columns": ", ".join(loaded.altered_columns),
        "cut_columns": ", ".join(loaded.cut_columns),
        "kept_leavers": len(loaded.kept_leavers),
        "leavers_kept_because": "; ".join(loaded.kept_leavers[:NAMED]),
        "departures_skipped": loaded.departures_skipped,
        "new_keys": ", ".join(loaded.new_keys),
        "vanished_keys": ", ".join(loaded.vanished_keys),
        "untouched_columns": ", ".join(loaded.untouched_columns),
        "differences": "; ".join(loaded.differences),
        "load_seconds": round(loaded.seconds, 2),
    }


def tell(key: str, report: Report) -> Report:
    """Log the report as one line and show it as an artifact; returns it."""
    told = {name: value for name, value in report.items() if value not in (None, "")}
    run_logger().info("%s", " ".join(f"{name}={value}" for name, value in told.items()))
    shown = {name: quoted_code(value) if isinstance(value, str) else value for name, value in report.items()}
    page = extract_page(shown) if "members" in report else load_page(shown)
    create_markdown_artifact(page, key=key, description=f"{key}: {shown['outcome']}")
    return report


def extract_page(report: Report) -> str:
    """`lms_to_s3` in five seconds: how many, by what proof, where, how fast, and what was odd."""
    members = report["members"]
    before = report["previous_members"]
    steps = ((step, report[f"{step}_seconds"]) for step in ("fetch", "flatten", "write"))
    return "\n".join([
        f"# {members:,} members: {report['outcome']}",
        f"`{report['object']}`, {report['bytes'] / 1e6:,.1f} MB, as of {report['snapshot_at']}"
        + ("; no earlier one to compare with" if before is None else f"; the one before had {before:,}"),
        "",
        f"**Complete:** {report['pages']} pages agree on {members:,} members with as many distinct ids, "
        f"after {report['sweeps']} sweep(s), {report['sign_ins']} sign-in(s), {report['retries']} retried request(s).",
        "",
        *table(("step", "seconds", "members/s"), ((s, f"{t:.2f}", rate(members, t)) for s, t in steps)),
        *notes({
            "In other departments": report["in_subdepartments"] or "",
            "Keys this version does not know": report["unknown_keys"],
            "Characters that were none, now U+FFFD": report["mended_characters"] or "",
        }),
    ])  # fmt: skip


def load_page(report: Report) -> str:
    """`s3_to_rds` in five seconds: what became of each row, how fast, what was refused and why."""
    seconds = report["load_seconds"]
    return "\n".join([
        f"# {report['read']:,} rows: {report['outcome']}",
        f"`{report['object']}` into `{report['table']}`, {seconds:.2f} s, {rate(report['read'], seconds)} rows/s",
        "",
        *table(LOAD_COUNTS, [[f"{report[name]:,}" for name in LOAD_COUNTS]]),
        "",
        "read = inserted + updated + unchanged + duplicates + rejected",
        *notes({
            "Rejected because": report["rejected_because"],
            "Rejected rows lie in": report["rejects"],
            "Altered by the table": report["altered"] and f"{report['altered']:,} rows: {report['altered_columns']}",
            "Digits of a second that the column's type cannot keep, cut": report["cut_columns"],
            "Leavers whom the table kept": report["kept_leavers"]
            and f"{report['kept_leavers']:,}: {report['leavers_kept_because']}",
            "Leavers not looked for": report["departures_skipped"],
            "New since the last load": report["new_keys"],
            "Without a value since this load": report["vanished_keys"],
            "Columns of the file that the table lacks": report["ignored_columns"],
            "Columns added to the table": report["added_columns"],
            "Columns of the table that the file lacks": report["untouched_columns"],
            "First differences": report["differences"],
        }),
    ])  # fmt: skip


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table, numbers to the right."""
    heads = list(heads)
    lines = ["| " + " | ".join(heads) + " |", "|" + "---:|" * len(heads)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def notes(found: dict[str, Any]) -> list[str]:
    """A list item for each thing that there is to say, after an empty line; as code, so that it is no Markdown."""
    return ["", *(f"- **{what}:** `{value}`" for what, value in found.items() if value)]


def rate(rows: int, seconds: float) -> str:
    """Rows a second."""
    return f"{rows / seconds:,.0f}" if seconds else ""
