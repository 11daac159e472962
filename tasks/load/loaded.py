"""What a load did: the counts of the ledger and the report, and what a person should know beside them."""

from dataclasses import asdict, dataclass, field

from tasks.errors import LoadFailed
from tasks.s3 import S3Object


@dataclass(frozen=True)
class Loaded:
    """What a load did: `read = inserted + updated + unchanged + duplicates + rejected`."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0
    departed: int = 0
    returned: int = 0
    altered: int = 0
    """Of the inserted and updated: rows whose values the table's own trigger replaced."""
    altered_columns: tuple[str, ...] = ()
    cut_columns: tuple[str, ...] = ()
    """Columns in which digits of a second were cut that their type cannot keep, each with the number of values."""
    kept_leavers: tuple[str, ...] = ()
    """Leavers whom the table did not let go: key and reason."""
    departures_skipped: str = ""
    new_keys: tuple[str, ...] = ()
    vanished_keys: tuple[str, ...] = ()
    """Columns and custom-field keys that have values since, or no more since, this load."""
    skipped: str | None = None
    rejects: S3Object | None = None
    rejected_because: str = ""
    ignored_columns: tuple[str, ...] = ()
    untouched_columns: tuple[str, ...] = ()
    added_columns: tuple[str, ...] = ()
    history: str = ""
    """The history table, and how many rows were added to it."""
    recognised: str = ""
    """How many of the unchanged rows were not staged, since their fingerprints are known."""
    differences: tuple[str, ...] = field(default=(), repr=False)
    seconds: float = 0.0

    def counts(self) -> dict[str, int]:
        """The numbers of the ledger, by name."""
        return {name: value for name, value in asdict(self).items() if type(value) is int}


def check_totals(loaded: Loaded) -> None:
    """Raise LoadFailed where the counts, each counted by itself, do not add up to the rows that were read."""
    parts = (loaded.inserted, loaded.updated, loaded.unchanged, loaded.duplicates, loaded.rejected)
    if loaded.read != sum(parts):
        raise LoadFailed(
            f"expected inserted, updated, unchanged, duplicates and rejected to add up to {loaded.read} rows, found "
            f"{parts}. Nothing was changed. Please report this as a bug."
        )


def numbered(counts: dict[str, int]) -> tuple[str, ...]:
    """
    >>> numbered({"date_edited": 3, "date_added": 0})
    ('date_edited (3 rows)',)
    """
    return tuple(f"{name} ({number} rows)" for name, number in counts.items() if number)
