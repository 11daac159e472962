"""What a run tells at its end: one log line, one artifact, one small report, all with the same numbers."""

from typing import Any

from prefect.artifacts import create_table_artifact

from tasks.fetch import RawSnapshot
from tasks.flatten import FlatSnapshot
from tasks.log import run_logger
from tasks.publish import Published
from tasks.s3 import Snapshot
from tasks.schema import TableSchema
from tasks.upsert import Loaded

Report = dict[str, Any]


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
        "untouched_columns": ", ".join(loaded.untouched_columns),
        "differences": "; ".join(loaded.differences),
        "load_seconds": round(loaded.seconds, 2),
    }


def tell(key: str, report: Report) -> Report:
    """Log the report as one line and show it as a table artifact; returns it."""
    told = {name: value for name, value in report.items() if value not in (None, "")}
    run_logger().info("%s", " ".join(f"{name}={value}" for name, value in told.items()))
    rows = [{"what": name.replace("_", " "), "value": str(value)} for name, value in told.items()]
    create_table_artifact(key=key, table=rows, description=f"`{key}`: {report['outcome']}")
    return report
