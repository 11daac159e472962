-- Rows of this load that want a value (under one unique index or exclusion constraint) which another row of this load,
-- or a leaver, still holds in the table: each pair, the one that must wait first.
SELECT DISTINCT taker._record, coalesce(c._record, -l._number)
FROM (SELECT image._record, image._key, {expressions} FROM ({image}) AS image {predicate}) AS taker
JOIN (SELECT {key} AS _key, {expressions} FROM {table} {predicate}) AS holder ON {same} AND holder._key <> taker._key
LEFT JOIN pg_temp.staging AS s ON s.{staged_key} = holder._key
LEFT JOIN pg_temp.changes AS c ON c._record = s._record
LEFT JOIN pg_temp.leavers AS l ON l._key = holder._key
WHERE c._record IS NOT NULL OR l._number IS NOT NULL
