-- Was this object loaded; which newer snapshot of its scope was loaded; and how many rows are in the future.
SELECT
    coalesce(
        -- A version never changes, so it is loaded once, ever.
        (SELECT max(load_id) FROM {ledger}
         WHERE table_name = %(table_name)s AND bucket = %(bucket)s AND object_key = %(object_key)s
           AND version_id = %(version_id)s),
        -- Without versions a key may return to an earlier content: only the key's newest load counts.
        (SELECT load_id
         FROM (SELECT load_id, sha256, snapshot_at FROM {ledger}
               WHERE table_name = %(table_name)s AND bucket = %(bucket)s AND object_key = %(object_key)s
               ORDER BY load_id DESC
               LIMIT 1) AS newest
         WHERE %(version_id)s IS NULL AND sha256 = %(sha256)s AND snapshot_at IS NOT DISTINCT FROM %(snapshot_at)s)
    ),
    max(snapshot_at) FILTER (WHERE snapshot_at <= clock_timestamp() + %(clock_tolerance)s),
    count(*) FILTER (WHERE snapshot_at > clock_timestamp() + %(clock_tolerance)s)
FROM {ledger}
WHERE table_name = %(table_name)s AND lower({scope}) = lower(%(scope_id)s)
  AND snapshot_at > %(snapshot_at)s
