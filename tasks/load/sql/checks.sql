-- The table's CHECK constraints that all its rows satisfy, and the columns that each is about; not those
-- about a row as a whole.
SELECT c.conname, pg_get_expr(c.conbin, c.conrelid),
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
             ORDER BY a.attnum)
FROM pg_constraint c
WHERE c.conrelid = %s::regclass AND c.contype = 'c' AND c.convalidated AND 0 <> ALL (c.conkey)
ORDER BY c.conname
