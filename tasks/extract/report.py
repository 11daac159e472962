"""What `lms_to_s3` did, and its page."""

from dataclasses import dataclass

from tasks.extract.fetch import RawSnapshot
from tasks.extract.flatten import FlatSnapshot
from tasks.extract.publish import Published
from tasks.report import RunReport, notes, rate, table
from tasks.streams import STREAMS


@dataclass(frozen=True)
class ExtractReport(RunReport):
    """What `lms_to_s3` did."""

    outcome: str
    object: str
    stream: str
    scope_id: str
    snapshot_at: str
    rows: int
    previous_rows: int | None
    foreign_rows: int
    pages: int
    sweeps: int
    sign_ins: int
    retries: int
    replaced_characters: int
    unknown_keys: str
    hashed_columns: str
    bytes: int
    fetch_seconds: float
    flatten_seconds: float
    write_seconds: float

    def markdown(self) -> str:
        """The extract at a glance: how many rows, how verified, where, how fast, and anything unusual."""
        rows, before, items = self.rows, self.previous_rows, STREAMS[self.stream].item_noun
        steps = (("fetch", self.fetch_seconds), ("flatten", self.flatten_seconds), ("write", self.write_seconds))
        return "\n".join([
            f"# {rows:,} {items}: {self.outcome}",
            f"`{self.object}`, {self.bytes / 1e6:,.1f} MB, as of {self.snapshot_at}"
            + ("; no earlier snapshot to compare with" if before is None else f"; the previous one had {before:,}"),
            "",
            f"**Complete:** {self.pages} pages agree on {rows:,} {items} and contain that many distinct ids, after "
            f"{self.sweeps} sweep(s), {self.sign_ins} sign-in(s) and {self.retries} retried request(s).",
            "",
            *table(("step", "seconds", f"{items}/s"), ((s, f"{t:.2f}", rate(rows, t)) for s, t in steps)),
            *notes({
                f"In other {STREAMS[self.stream].scope_noun}s": self.foreign_rows or "",
                "Hashed columns": self.hashed_columns,
                "Keys this version does not know": self.unknown_keys,
                "Invalid characters replaced by U+FFFD": self.replaced_characters or "",
            }),
        ])  # fmt: skip


def extract_report(raw: RawSnapshot, flat: FlatSnapshot, published: Published, *, dry_run: bool) -> ExtractReport:
    """What `lms_to_s3` did, from what its steps gave."""
    return ExtractReport(
        outcome="dry run" if dry_run else "published",
        object=str(published.object),
        stream=raw.scope.stream.name,
        scope_id=raw.scope.id,
        snapshot_at=raw.snapshot_at.isoformat(timespec="seconds"),
        rows=published.rows,
        previous_rows=published.previous_rows,
        foreign_rows=raw.foreign_rows,
        pages=raw.pages,
        sweeps=raw.sweeps,
        sign_ins=raw.sign_ins,
        retries=raw.retries,
        replaced_characters=raw.replaced_characters,
        unknown_keys=", ".join(flat.unknown_keys),
        hashed_columns=", ".join(flat.hashed_columns),
        bytes=flat.bytes,
        fetch_seconds=round(raw.seconds, 2),
        flatten_seconds=round(flat.seconds, 2),
        write_seconds=round(published.seconds, 2),
    )
