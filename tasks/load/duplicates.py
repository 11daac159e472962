"""Rows that share a key: the newest one is kept; if it was rejected, none is loaded."""

from psycopg2.extensions import cursor as Cursor

from tasks.load.align import Alignment
from tasks.load.database import RowError, execute, one_row, savepoint
from tasks.load.formats import sortable
from tasks.load.rejects import Rejected


def note_rejected(cursor: Cursor, alignment: Alignment, rejected: list[Rejected]) -> int:
    """Fill `pg_temp.rejected_keys` with the rejected rows' keys and edits; how many keys cannot be read."""
    edited = alignment.edited
    columns = f"_record integer, _key {alignment.key.staged_as}, _edited {edited.staged_as if edited else 'text'}"
    # IF NOT EXISTS: staging comes here once more for known records that are staged after all
    cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS rejected_keys ({columns}) ON COMMIT DROP")
    return sum(not note_key(cursor, alignment, row) for row in rejected)


def note_key(cursor: Cursor, alignment: Alignment, row: Rejected) -> bool:
    """Note one rejected row, as the columns' types read it; False where its key cannot be read."""
    if row.key is None or not row.key.strip():
        return False
    newest_by_text = alignment.edited is not None and not alignment.edited.is_loaded
    # a date that the column's type refuses counts as unknown; the key alone is then noted
    for edited in (sortable(row.edited) if newest_by_text else row.edited, None):
        try:
            with savepoint(cursor):
                insert = "INSERT INTO pg_temp.rejected_keys VALUES (%s, %s, %s)"
                cursor.execute(insert, (row.record, row.key, edited))
            return True
        except (RowError, ValueError):  # ValueError: psycopg2 sends no NUL
            continue
    return False


def drop_duplicates(cursor: Cursor, alignment: Alignment) -> int:
    """Keep one row per key in the staging table, or none beside a newer rejected one; how many were dropped."""
    key, edited = alignment.key.staged, alignment.edited
    execute(cursor, "repeated_keys", staged_key=key)
    if one_row(cursor)[0] == 0:
        return 0
    newest_first = "_record DESC"
    if edited is not None:
        # the bytes of what `sortable` gives are in the order of time
        by_text = "" if edited.is_loaded else ' COLLATE "C"'
        newest_first = f"_edited{by_text} DESC NULLS LAST, _record DESC"
    staged_edited = edited.staged if edited else "NULL"
    execute(cursor, "drop_duplicates", staged_key=key, edited=staged_edited, newest_first=newest_first)
    return cursor.rowcount
