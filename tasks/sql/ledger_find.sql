-- The same object, loaded before; and the newest snapshot that was applied for the department.
SELECT
    (SELECT max(load_id) FROM {ledger}
     WHERE table_name = %(table_name)s AND bucket = %(bucket)s AND object_key = %(object_key)s
       AND version_id IS NOT DISTINCT FROM %(version_id)s AND etag = %(etag)s
       AND snapshot_at IS NOT DISTINCT FROM %(snapshot_at)s),
    (SELECT max(snapshot_at) FROM {ledger}
     WHERE table_name = %(table_name)s AND department_id = %(department_id)s)
