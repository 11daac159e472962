-- Rows of this load that want a value (under one unique index or exclusion constraint) which another row of this load,
-- or a leaver, still holds in the table: each pair, the one that must wait first.
SELECT DISTINCT taker."#record", coalesce(c._record, -l._number)
FROM (SELECT "#record", "#key", {expressions} FROM ({image}) AS {as_table} {predicate}) AS taker
JOIN (SELECT {key} AS "#key", {expressions} FROM {table} {predicate}) AS holder
  ON {same} AND holder."#key" <> taker."#key"
LEFT JOIN pg_temp.staging AS s ON s.{staged_key} = holder."#key"
LEFT JOIN pg_temp.changes AS c ON c._record = s._record
LEFT JOIN pg_temp.leavers AS l ON l._key = holder."#key"
WHERE c._record IS NOT NULL OR l._number IS NOT NULL
