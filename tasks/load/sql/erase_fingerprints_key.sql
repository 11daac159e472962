-- The key's column in a table of fingerprints, if both tables are there.
SELECT quote_ident(attname) FROM pg_attribute
WHERE attrelid = to_regclass(%(fingerprints)s) AND attnum = 1 AND to_regclass(%(table)s) IS NOT NULL
