-- Rows that others of the same table still refer to: leavers, and rows whose own referred value may change. Those
-- that refer to them must move first.
WITH nodes AS (
    SELECT c._record::bigint AS node, s.{staged_key} AS _key FROM pg_temp.changes AS c JOIN pg_temp.staging AS s USING (_record)
    UNION ALL
    SELECT -l._number, l._key FROM pg_temp.leavers AS l
)
SELECT DISTINCT referred.node, referring.node
FROM nodes AS referred
JOIN {table} AS t ON t.{key} = referred._key
JOIN {table} AS o ON {matches}
JOIN nodes AS referring ON referring._key = o.{key}
WHERE referred.node <> referring.node AND (referred.node < 0 OR {may_change})
