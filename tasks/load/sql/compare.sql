-- Each staged row next to the stored one. New and different rows are written; the others are found equal here.
-- `emptied` is null for a new row, {{0}} for one that is the same, and else the numbers of the columns whose stored
-- value would become null (-1 where custom fields differ).
WITH compared AS MATERIALIZED (
    SELECT s._record, {returns} AS returns,
           CASE WHEN t.{key} IS NULL THEN NULL
                WHEN ({differs}) AND NOT ({is_newer}) THEN {emptied}
                ELSE '{{0}}' END AS emptied
    FROM pg_temp.staging AS s
    LEFT JOIN {table} AS t ON t.{key} = s.{staged_key}
), changed AS (
    INSERT INTO pg_temp.changes (_record, is_new, returns, emptied)
    SELECT _record, emptied IS NULL, returns, emptied FROM compared WHERE emptied IS DISTINCT FROM '{{0}}'
)
SELECT count(*) FILTER (WHERE emptied IS NULL),
       count(*) FILTER (WHERE emptied <> '{{0}}'),
       count(*) FILTER (WHERE emptied <> '{{0}}' AND returns),
       count(*) FILTER (WHERE emptied = '{{0}}')
FROM compared
