-- What became meanwhile of the rows that were the same as the stored ones, if they are not so any more.
SELECT s._record, t.{key} IS NULL, array_remove(ARRAY[{altered}], NULL)
FROM pg_temp.staging AS s
LEFT JOIN {table} AS t ON t.{key} = s.{staged_key}
WHERE NOT EXISTS (SELECT FROM pg_temp.changes AS c WHERE c._record = s._record)
  AND s._record <> ALL (%(refused)s::integer[])
  AND (t.{key} IS NULL OR ({differs}) AND NOT ({is_newer}))
