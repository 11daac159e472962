-- The key's column in a table of fingerprints, if both tables are there and it is one.
SELECT quote_ident(min(attname) FILTER (WHERE attnum = 1))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE attrelid = to_regclass(%(fingerprints)s) AND relkind = 'r' AND to_regclass(%(table)s) IS NOT NULL
HAVING count(*) FILTER (WHERE attname IN ('fingerprint', 'row_ctid', 'row_xmin') AND NOT attisdropped) = 3
