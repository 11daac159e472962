-- Leavers' rows go.
DELETE FROM {table} AS t
WHERE lower(t.department_id::text) = %(department_id)s
  AND NOT EXISTS (SELECT FROM pg_temp.staging AS s WHERE s.lms_user_id = t.lms_user_id)
  AND NOT t.lms_user_id::text = ANY (%(rejected)s)
