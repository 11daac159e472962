-- Leavers go and changed rows come in one statement, leavers first: a value that a leaver frees can be taken, while
-- foreign keys are judged when both are done. The ON CONFLICT serves writers of other sessions. With `nodes`, only those
-- rows and (as negative numbers) those leavers.
WITH gone AS (
    {leave} (%(nodes)s::integer[] IS NULL OR -l._number = ANY (%(nodes)s)) {returning}
), merged AS (
    INSERT INTO {table} AS t ({columns})
    SELECT {values}
    FROM pg_temp.staging AS s
    JOIN pg_temp.changes AS c USING (_record)
    LEFT JOIN unnest(%(nodes)s::integer[]) WITH ORDINALITY AS wanted (node, place) ON node = _record
    WHERE (SELECT count(*) FROM gone) >= 0 AND (%(nodes)s::integer[] IS NULL OR place IS NOT NULL)
    {in_order}
    ON CONFLICT ({key}) DO UPDATE SET {assignments}{where_not_older}
    RETURNING t.{key}
)
INSERT INTO pg_temp.written SELECT {key} FROM merged
