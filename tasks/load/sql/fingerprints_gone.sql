-- Of leavers whose rows are gone, nothing is kept.
DELETE FROM {fingerprints} AS f
USING pg_temp.leavers AS l
WHERE f.{key} = l._key AND NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = l._key)
