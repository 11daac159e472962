-- The first members that a load would insert or change, and in which columns.
SELECT s._record, s.{staged_key}::text, CASE WHEN c.is_new THEN 'new' ELSE {changes} END
FROM (SELECT _record, is_new FROM pg_temp.changes ORDER BY _record LIMIT %(count)s) AS c
JOIN pg_temp.staging AS s USING (_record)
LEFT JOIN {table} AS t ON t.{key} = s.{staged_key}
