-- What became of the changed rows that are not in the table as they were staged. One that this load wrote, and that
-- is another now, was altered by the table itself.
SELECT c._record, c.is_new, c.returns,
       CASE WHEN t.{key} IS NULL THEN 'dropped'
            WHEN {was_written} THEN 'altered'
            WHEN {is_newer} THEN 'newer'
            ELSE 'dropped' END,
       array_remove(ARRAY[{altered}], NULL)
FROM pg_temp.changes AS c
JOIN pg_temp.staging AS s USING (_record)
LEFT JOIN {table} AS t ON t.{key} = s.{staged_key}
WHERE t.{key} IS NULL OR ({differs})
