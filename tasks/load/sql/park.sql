-- Values that rows of a cycle exchange are moved out of the way; each row gets its new ones right after.
UPDATE {table} AS t SET {assignments}
FROM pg_temp.staging AS s
WHERE t.{key} = s.{staged_key} AND s._record = ANY (%(records)s) {guard}
