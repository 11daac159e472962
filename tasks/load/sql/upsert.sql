-- Leavers go and changed rows come in one statement, leavers first: a value that a leaver frees can be taken, while
-- foreign keys are judged when both are done. The ON CONFLICT serves writers of other sessions. With `nodes`, only those
-- rows and (as negative numbers) those leavers.
WITH wanted AS (
    SELECT node, place FROM unnest(%(nodes)s::integer[]) WITH ORDINALITY AS wanted (node, place)
), gone AS (
    {departures} (%(nodes)s::integer[] IS NULL OR -l._number = ANY (%(nodes)s)) {returning}
), merged AS (
    INSERT INTO {table} AS t ({columns})
    SELECT {values}
    FROM {rows}
    WHERE (SELECT count(*) FROM gone) >= 0  -- always true; without it, nothing says which part runs first
    {in_order}
    ON CONFLICT ({key}) DO UPDATE SET {assignments}{where_not_older}
    RETURNING t.{key}
)
{record_written}
