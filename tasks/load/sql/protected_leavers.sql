-- Leavers to whom a row that stays will still refer, by a foreign key that would delete or change that row with them.
DELETE FROM pg_temp.leavers AS l
USING {table} AS gone
WHERE gone.{key} = l._key
  AND (EXISTS (SELECT FROM pg_temp.staging AS s WHERE {staged_refers})
       OR EXISTS (SELECT FROM {table} AS t
                  WHERE {stored_refers}
                    AND NOT EXISTS (SELECT FROM pg_temp.leavers AS o WHERE o._key = t.{key})
                    AND {keeps_reference}))
RETURNING l._key::text
