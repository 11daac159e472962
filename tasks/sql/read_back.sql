-- How many of the changed rows are in the table just as they were staged. Compared in the select list: as a join's
-- condition, the planner would expect it to hold for one row at most, and nest its loops.
SELECT is_new, returns, count(*)
FROM (
    SELECT c.is_new, c.returns, t.{key} IS NOT NULL AND NOT ({differs}) AS is_equal
    FROM pg_temp.changes AS c
    JOIN pg_temp.staging AS s USING (_record)
    LEFT JOIN {table} AS t ON t.{key} = s.{staged_key}
    OFFSET 0
) AS looked_up
WHERE is_equal
GROUP BY is_new, returns
