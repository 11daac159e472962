INSERT INTO {ledger} (
    table_name, bucket, object_key, version_id, etag, sha256, department_id, snapshot_at,
    rows_read, inserted, updated, unchanged, duplicates, rejected, departed, returned, rejects_key, flow_run_id{more_columns}
) VALUES (
    %(table_name)s, %(bucket)s, %(object_key)s, %(version_id)s, %(etag)s, %(sha256)s, %(department_id)s, %(snapshot_at)s,
    %(read)s, %(inserted)s, %(updated)s, %(unchanged)s, %(duplicates)s, %(rejected)s, %(departed)s, %(returned)s,
    %(rejects_key)s, %(flow_run_id)s{more_values}
)
RETURNING load_id
