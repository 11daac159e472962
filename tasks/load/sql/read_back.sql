-- How many of the changed rows are in the table just as they were staged. Compared in the select list: as a join's
-- condition, the planner would expect it to hold for one row at most, and nest its loops.
WITH equal AS (
    SELECT *
    FROM (
        SELECT {is_new} AS is_new, {returns} AS returns, t.{key} IS NOT NULL AND NOT ({differs}) AS is_equal {version}
        FROM {rows}
        LEFT JOIN {table} AS t ON t.{key} = s.{staged_key}
        OFFSET 0  -- keeps the planner from moving the comparison into the join
    ) AS looked_up
    WHERE is_equal
) {recorded}
SELECT is_new, returns, count(*) FROM equal GROUP BY is_new, returns
