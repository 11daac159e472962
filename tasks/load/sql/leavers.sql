-- Rows of the scope that are in the table and neither in its complete snapshot nor among its rejected rows.
INSERT INTO pg_temp.leavers (_key)
SELECT t.{key}
FROM {table} AS t
WHERE {of_scope} {present}
  AND NOT EXISTS (SELECT FROM pg_temp.staging AS s WHERE s.{staged_key} = t.{key})
  AND NOT EXISTS (SELECT FROM pg_temp.known AS k WHERE k._key = t.{key})
  AND NOT EXISTS (SELECT FROM pg_temp.rejected_keys AS r WHERE r._key = t.{key})
