-- Known rows whose record shares its key with another one in the file: the record occurs twice, or a record with the
-- same key was staged or rejected.
DELETE FROM pg_temp.known AS k
WHERE k._number = ANY (%(repeated)s::integer[])
   OR EXISTS (SELECT FROM pg_temp.staging AS s WHERE s.{staged_key} = k._key)
   OR EXISTS (SELECT FROM pg_temp.rejected_keys AS r WHERE r._key = k._key)
RETURNING k._number
