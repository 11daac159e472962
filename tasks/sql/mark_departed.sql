-- Leavers keep their values; departed_at says since which snapshot they are gone.
UPDATE {table} AS t SET departed_at = %(snapshot_at)s
WHERE lower(t.department_id::text) = %(department_id)s
  AND t.departed_at IS NULL
  AND NOT EXISTS (SELECT FROM pg_temp.staging AS s WHERE s.lms_user_id = t.lms_user_id)
  AND NOT t.lms_user_id::text = ANY (%(rejected)s)
