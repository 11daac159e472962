-- Fingerprints of leavers whose rows are gone.
DELETE FROM {fingerprints} AS f
USING pg_temp.leavers AS l
WHERE f.{key} = l._key AND NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = l._key)
