-- Leavers go and changed rows come in one statement, leavers first: a value that a leaver frees can be taken, while
-- foreign keys are judged when both are done. The ON CONFLICT serves writers of other sessions.
WITH gone AS (
    {leave}
), merged AS (
    INSERT INTO {table} AS t ({columns})
    SELECT {values}
    FROM pg_temp.staging AS s
    JOIN pg_temp.changes AS c USING (_record)
    {only}
    WHERE (SELECT count(*) FROM gone) >= 0
    {in_order}
    ON CONFLICT ({key}) DO UPDATE SET {assignments}{where_not_older}
    RETURNING t.{key}
)
INSERT INTO pg_temp.written SELECT {key} FROM merged
