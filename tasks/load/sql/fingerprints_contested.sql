-- Known rows whose record is not alone with its key in the file: it comes twice, or beside one that was staged or
-- rejected.
DELETE FROM pg_temp.known AS k
WHERE k._number = ANY (%(repeated)s::integer[])
   OR EXISTS (SELECT FROM pg_temp.staging AS s WHERE s.{staged_key} = k._key)
   OR EXISTS (SELECT FROM pg_temp.rejected_keys AS r WHERE r._key = k._key)
RETURNING k._number
