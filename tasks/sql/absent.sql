-- Members of one department who are in the table and not in its complete snapshot. A rejected row is no leaver.
SELECT count(*) AS present, count(*) FILTER (WHERE s._record IS NULL AND NOT t.lms_user_id::text = ANY (%(rejected)s))
FROM {table} AS t
LEFT JOIN pg_temp.staging AS s USING (lms_user_id)
WHERE lower(t.department_id::text) = %(department_id)s {present}
