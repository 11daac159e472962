"""The report of `s3_to_rds`, and the event that announces the load."""

from collections.abc import Iterable
from dataclasses import dataclass

from prefect.runtime import flow_run

from tasks.events import LOADED, RETIRED, emit, table_resource
from tasks.load.departures import NAMED
from tasks.load.loaded import Loaded
from tasks.load.schema import TableSchema
from tasks.report import COUNTS, RunReport, notes, rate, table
from tasks.s3 import Snapshot
from tasks.settings import LoadSettings
from tasks.streams import Scope


@dataclass(frozen=True)
class LoadReport(RunReport):
    """What `s3_to_rds` did."""

    outcome: str
    object: str
    table: str
    read: int
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    departed: int
    returned: int
    altered: int
    rejects: str
    rejected_because: str
    ignored_columns: str
    added_columns: str
    history: str
    recognised: str
    altered_columns: str
    cut_columns: str
    kept_leavers: int
    leavers_kept_because: str
    departures_skipped: str
    new_keys: str
    vanished_keys: str
    untouched_columns: str
    differences: str
    load_seconds: float

    def markdown(self) -> str:
        """The load at a glance: what happened to the rows, how fast, what was rejected and why."""
        kept = f"{self.kept_leavers:,}: {self.leavers_kept_because}"
        return "\n".join([
            f"# {self.read:,} rows: {self.outcome}",
            f"`{self.object}` into `{self.table}`, {self.load_seconds:.2f} s, "
            f"{rate(self.read, self.load_seconds)} rows/s",
            "",
            *table(COUNTS, [[f"{getattr(self, name):,}" for name in COUNTS]]),
            "",
            "read = inserted + updated + unchanged + duplicates + rejected",
            *notes({
                "Reasons for rejection": self.rejected_because,
                "Rejected rows are in": self.rejects,
                "Altered by the table": self.altered and f"{self.altered:,} rows: {self.altered_columns}",
                "Fractions of a second cut to the column's precision": self.cut_columns,
                "Leavers that the table kept": self.kept_leavers and kept,
                "Leavers not looked for": self.departures_skipped,
                "New since the last load": self.new_keys,
                "No longer have a value": self.vanished_keys,
                "Columns in the file but not in the table": self.ignored_columns,
                "Columns added to the table": self.added_columns,
                "Columns in the table but not in the file": self.untouched_columns,
                "History": self.history,
                "Not staged, since the table is known to hold them": self.recognised,
                "First differences": self.differences,
            }),
        ])  # fmt: skip


def load_report(snapshot: Snapshot, table: TableSchema, loaded: Loaded, *, dry_run: bool) -> LoadReport:
    """What `s3_to_rds` did, from what its steps gave."""
    return LoadReport(
        outcome=f"skipped: {loaded.skipped}" if loaded.skipped else "dry run" if dry_run else "loaded",
        object=str(snapshot.object),
        table=table.quoted,
        **loaded.counts(),
        rejects=str(loaded.rejects or ""),
        rejected_because=loaded.rejected_because,
        ignored_columns=", ".join(loaded.ignored_columns),
        added_columns=", ".join(loaded.added_columns),
        history=loaded.history,
        recognised=loaded.recognised,
        altered_columns=", ".join(loaded.altered_columns),
        cut_columns=", ".join(loaded.cut_columns),
        kept_leavers=len(loaded.kept_leavers),
        leavers_kept_because="; ".join(loaded.kept_leavers[:NAMED]),
        departures_skipped=loaded.departures_skipped,
        new_keys=", ".join(loaded.new_keys),
        vanished_keys=", ".join(loaded.vanished_keys),
        untouched_columns=", ".join(loaded.untouched_columns),
        differences="; ".join(loaded.differences),
        load_seconds=round(loaded.seconds, 2),
    )


def announce_load(snapshot: Snapshot, table: TableSchema, loaded: Loaded, *, dry_run: bool) -> None:
    """Emit the event for a committed load; a skipped load or a dry run emits none."""
    if dry_run or loaded.skipped:
        return
    emit(
        LOADED,
        table_resource(table.schema, table.table, snapshot.scope),
        tags=flow_run.tags or [],
        payload={**loaded.counts(), "object": str(snapshot.object), "flow_run_id": flow_run.id},
    )


def announce_empty(scopes: Iterable[Scope], settings: LoadSettings) -> None:
    """Prefect knows that no load of scopes without rows is to be expected, until they have some."""
    for scope in scopes:
        table = settings.tables_with(scope.stream)[scope.stream.name]
        emit(RETIRED, table_resource(settings.schema, table, scope), tags=flow_run.tags or [])
