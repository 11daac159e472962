-- The load of this very object that this flow run committed, if there is one.
SELECT load_id, rejects_key, rows_read AS read, inserted, updated, unchanged, duplicates, rejected, departed, returned
FROM {ledger}
WHERE table_name = %(table_name)s AND bucket = %(bucket)s AND object_key = %(object_key)s
  AND version_id IS NOT DISTINCT FROM %(version_id)s AND sha256 = %(sha256)s
  AND snapshot_at IS NOT DISTINCT FROM %(snapshot_at)s AND flow_run_id = %(flow_run_id)s
ORDER BY load_id DESC
LIMIT 1
