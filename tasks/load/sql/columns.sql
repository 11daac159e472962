-- A table's columns: whether each may hold an id by itself, and whether it may be null. No rows where there is no table.
SELECT a.attname::text, format_type(a.atttypid, NULL) IN ('uuid', 'text', 'character varying', 'character'), NOT a.attnotnull
FROM pg_attribute a
WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
