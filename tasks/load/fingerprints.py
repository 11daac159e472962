"""Records that need no staging: the table's row is still the version that an earlier load found equal to the record.

On most nights one row in a hundred changes. For each row, `<table>_fingerprints` holds the fingerprint of the record
that it was found equal to, and the row version (xmin, ctid) that was compared. Every write makes a new version of the
row, so a row that was edited by hand, restored or rewritten is staged and compared as before. The fingerprint is a
keyed hash of the record; its key covers everything else that determines what the record becomes. See ADR 11.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import psycopg2
import pyarrow as pa
from psycopg2.extensions import cursor as Cursor

from tasks.columns import DEPARTED_AT
from tasks.load.align import Alignment, cut_name
from tasks.load.database import LOCK_TIMEOUT, RowError, execute, one_row, quoted, savepoint
from tasks.load.hashed_file import DIGEST_BYTES, HashedFile
from tasks.load.plan import Merge
from tasks.load.records import Bools, read_header
from tasks.load.strict_csv import Indexes, Part
from tasks.log import run_logger
from tasks.options import LoadOptions

SUFFIX = "_fingerprints"
LONGEST_KEY = 64  # bytes, the most that BLAKE2b accepts
COPY_KNOWN = "COPY (SELECT _fingerprint FROM pg_temp.known ORDER BY _number) TO STDOUT (FORMAT binary)"
COPY_HEADER_BYTES = 19  # signature 11, flags 4, length of the header's extension 4
COPIED = np.dtype([("fields", ">i2"), ("bytes", ">i4"), ("fingerprint", "V16")])  # its numbers are big-endian
"""One row of one UUID, in COPY's binary format."""


@dataclass
class Fingerprints:
    """Says which of a file's records the table already holds; see `tasks.load.records.Sieve`."""

    name: str
    """The quoted, qualified name of the fingerprint table."""
    file: HashedFile
    known: bytes = b""
    """The fingerprints of rows that have not changed since, 16 bytes each, in the order of `pg_temp.known`."""
    is_new: bool = False
    """There is no fingerprint table yet: this load creates it, and its key at the end."""
    again: Indexes | None = None
    """If set, only the records of these known rows are wanted: the first pass left them out."""
    left_out: int = 0
    """Records that the table already holds."""
    _halves: tuple[np.ndarray, np.ndarray] = field(init=False)
    _order: np.ndarray = field(init=False)
    _seen: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        # numpy has no integers of 128 bits, so these are sorted by one half and compared by both. Of two that share
        # their first half, one is not found; its record is staged, which does no harm.
        halves = np.frombuffer(self.known, "V8").view(np.uint64).reshape(-1, 2)
        self._order = np.argsort(halves[:, 0])
        self._halves = halves[self._order, 0], halves[self._order, 1]
        self._seen = np.zeros(len(halves), np.int32)

    def parts(self) -> Iterator[tuple[Part, Bools, pa.Array]]:
        """The file's parts, which of their records must be staged, and the fingerprints of those records."""
        for part, digests in self.file:
            numbers = self.numbers(digests)
            if self.again is not None:
                wanted = np.isin(numbers, self.again)
            else:
                wanted = numbers < 0
                np.add.at(self._seen, numbers[~wanted], 1)
                self.left_out += int(len(wanted) - wanted.sum())
            starts = (DIGEST_BYTES * np.flatnonzero(wanted)).tolist()
            yield part, wanted, pa.array([digests[at : at + DIGEST_BYTES].hex() for at in starts], pa.string())

    def numbers(self, digests: bytes) -> np.ndarray:
        """The position of each fingerprint among the known ones, -1 for an unknown one."""
        asked = np.frombuffer(digests, "V8").view(np.uint64).reshape(-1, 2)
        if not len(self._order):
            return np.full(len(asked), -1)
        place = np.searchsorted(self._halves[0], asked[:, 0]).clip(max=len(self._order) - 1)
        same = (self._halves[0][place] == asked[:, 0]) & (self._halves[1][place] == asked[:, 1])
        return np.where(same, self._order[place], -1)

    @property
    def rows(self) -> int:
        """How many are known."""
        return len(self._seen)

    def unseen(self) -> Indexes:
        """The known rows whose record is not in the file."""
        return np.flatnonzero(self._seen == 0)

    def repeated(self) -> Indexes:
        """The known rows whose record is in the file more than once."""
        return np.flatnonzero(self._seen > 1)

    def take_back(self, numbers: Indexes) -> None:
        """Have the records of these known rows staged after all."""
        self.again = numbers
        self.left_out -= int(self._seen[numbers].sum())


@contextmanager
def if_possible(cursor: Cursor, name: str) -> Iterator[None]:
    """Do something that concerns only fingerprints, or none of it: no load fails because of them, or waits for them."""
    try:
        with savepoint(cursor):
            cursor.execute("SET LOCAL lock_timeout = '1s'")  # an error undoes it with the savepoint
            yield
            cursor.execute(LOCK_TIMEOUT)
    except (psycopg2.Error, RowError) as refused:
        if cursor.connection.closed:
            raise
        error = refused.error if isinstance(refused, RowError) else refused
        run_logger().warning(
            "%s could not be used (SQLSTATE %s), so loads take longer. If nobody locks it, drop it",
            name,
            error.pgcode,
        )


def open_fingerprints(cursor: Cursor, merge: Merge, path: Path, options: LoadOptions) -> Fingerprints | None:
    """The fingerprints of earlier loads, and `pg_temp.known` with the scope's rows that have not changed since.

    None, and no known rows, if fingerprints would prove nothing or may not be stored. They are proof only for a plain
    table without triggers, policies or rules, whose columns have PostgreSQL's built-in types. A plain file has no
    scope, so all of the table's rows would have to be fetched for it.
    """
    table, alignment = merge.table, merge.alignment
    columns = f"_number integer, _key {alignment.key.staged_as}, _fingerprint uuid"
    cursor.execute(f"CREATE TEMPORARY TABLE known ({columns}) ON COMMIT DROP")
    own_name = table.table + SUFFIX
    if not options.fingerprints or merge.scope is None or own_name != cut_name(own_name):
        return None
    if table.changes_rows or table.rewrites_rows or alignment.added:
        return None
    name = quoted(table.schema, own_name)
    found = None
    with if_possible(cursor, name):
        loaded = [column.name for column in alignment.loaded]
        data = {"table": table.quoted, "fingerprints": name, "loaded": loaded, "key": merge.key}
        execute(cursor, "fingerprints_context", data)
        proves, exists, permitted, context = one_row(cursor)
        if exists and not permitted:
            run_logger().warning("%s may not be written, or is not as this load makes it: grant it, or drop it", name)
        if proves and permitted and (exists or not options.dry_run):
            header, written = read_header(path), [column.name for column in merge.columns]
            # joined by NUL, which no name can hold: no two lists give the same text
            parts = (version(), table.stream.name, context, *header, "", *written)
            key = hashlib.blake2b("\0".join(parts).encode(), digest_size=LONGEST_KEY).digest()
            file, known = HashedFile(path, len(header), key), b""
            if exists:  # locked, so that nobody drops or alters it before the load ends
                cursor.execute(f"LOCK TABLE {name} IN ROW EXCLUSIVE MODE NOWAIT")
                with file.begun():
                    known = find_known(cursor, merge, name)
            found = Fingerprints(name, file, known, is_new=not exists)
    return found


def find_known(cursor: Cursor, merge: Merge, name: str) -> bytes:
    """Fill `pg_temp.known`; return the fingerprints in its order."""
    counts = [merge.of_scope or "true", *([f"t.{DEPARTED_AT} IS NULL"] if merge.revive else [])]
    execute(cursor, "fingerprints_known", fingerprints=name, counts=" AND ".join(counts), **merge.target)
    copied = io.BytesIO()
    cursor.copy_expert(COPY_KNOWN, copied)  # takes a third of the memory that rows would
    # counted, since the binary format has a trailer behind the last row
    rows = cursor.rowcount
    return np.frombuffer(copied.getbuffer(), COPIED, rows, COPY_HEADER_BYTES)["fingerprint"].tobytes()


def settle(cursor: Cursor, found: Fingerprints, alignment: Alignment) -> bool:
    """Keep in `pg_temp.known` only rows whose record is in the file once, with a key that no other record has.

    Returns:
        Whether any records must be staged after all.
    """
    if len(unseen := found.unseen()) == found.rows:  # a list of them all would take longer than the rest of this
        cursor.execute("TRUNCATE pg_temp.known")
    else:
        cursor.execute("DELETE FROM pg_temp.known WHERE _number = ANY (%s)", (unseen.tolist(),))
    execute(cursor, "fingerprints_contested", {"repeated": found.repeated().tolist()}, staged_key=alignment.key.staged)
    contested = np.array([number for (number,) in cursor.fetchall()], np.intp)
    found.take_back(contested)
    return bool(len(contested))


def recording(cursor: Cursor, merge: Merge, found: Fingerprints | None) -> Fingerprints | None:
    """The same fingerprints, with a table to record them in; None if there can be no such table."""
    made = None
    if found is not None:
        with if_possible(cursor, found.name):
            if found.is_new:
                execute(cursor, "fingerprints_table", fingerprints=found.name, **merge.target)
            made = found
    return made


def record_parts(merge: Merge, found: Fingerprints | None) -> dict[str, str]:
    """Parts for a statement that compares rows (in its CTE `equal`), so that it records those that it finds equal.

    It is the same statement, so the version that is recorded is the version that was compared.
    """
    if found is None:
        return {"version": "", "recorded": ""}
    key = quoted(merge.key)
    columns = f"{key}, fingerprint, row_ctid, row_xmin, recorded_at"
    replace = (
        f"ON CONFLICT ({key}) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, row_ctid = EXCLUDED.row_ctid, "
        "row_xmin = EXCLUDED.row_xmin, recorded_at = EXCLUDED.recorded_at"
    )
    return {
        "version": f", t.{key} AS _key, s._fingerprint, t.ctid AS row_ctid, t.xmin AS row_xmin",
        "recorded": f", recorded AS (INSERT INTO {found.name} ({columns}) "
        f"SELECT _key, _fingerprint, row_ctid, row_xmin, txid_current() FROM equal {'' if found.is_new else replace})",
    }


def record_same(cursor: Cursor, merge: Merge, found: Fingerprints, *, any_same: bool) -> None:
    """Record the staged rows that were the same as the table's, if there are any, and give a new table its key."""
    with if_possible(cursor, found.name):
        if any_same:
            parts = {"differs": merge.differs(read_back=True), **record_parts(merge, found)}
            execute(cursor, "fingerprints_record", **merge.target, **parts)
        if found.is_new:
            cursor.execute(f"ALTER TABLE {found.name} ADD PRIMARY KEY ({quoted(merge.key)})")


def forget_leavers(cursor: Cursor, merge: Merge, found: Fingerprints) -> None:
    """Delete the fingerprints of leavers whose rows are gone."""
    if merge.departure_statement is not None and not found.is_new:
        with if_possible(cursor, found.name):
            execute(cursor, "fingerprints_gone", fingerprints=found.name, **merge.target)


@cache
def version() -> str:
    """This version of the load: a hash of its own source, so that nobody has to remember to change a number."""
    folder = Path(__file__).parent
    source = hashlib.blake2b(digest_size=16)
    for path in sorted([*folder.glob("*.py"), *folder.glob("sql/*.sql"), folder.parent / "streams.py"]):
        source.update(path.read_bytes())
    return source.hexdigest()
