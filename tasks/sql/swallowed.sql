-- Rows that were merged and still are not in the table: a trigger, rule or policy dropped them without a word.
SELECT s._record
FROM pg_temp.staging AS s
LEFT JOIN {table} AS t USING (lms_user_id)
WHERE t.lms_user_id IS NULL
