-- The last loads, newest first.
SELECT load_id AS load, to_char(loaded_at, 'YYYY-MM-DD HH24:MI:SS') AS loaded_at, table_name AS "table", object_key AS key,
       to_char(snapshot_at, 'YYYY-MM-DD HH24:MI:SS') AS snapshot_at, rows_read AS read, inserted, updated, unchanged,
       duplicates, rejected, departed, returned, version_id AS version
FROM {ledger}
ORDER BY load_id DESC
LIMIT %(count)s
