-- The first members that a load would insert or change, and in which columns.
SELECT s.lms_user_id::text, CASE WHEN t.lms_user_id IS NULL THEN 'new' ELSE {changes} END
FROM pg_temp.staging AS s
LEFT JOIN {table} AS t USING (lms_user_id)
WHERE t.lms_user_id IS NULL OR ({differs}){not_older}
ORDER BY s._record
LIMIT 10
