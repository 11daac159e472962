-- Each unique index and exclusion constraint of the table: the names it goes by (its partitions' included), the
-- columns it is about, the expressions it compares and by which operators, and whether it is judged row by row,
-- takes nulls for equal, or has another collation than its column.
SELECT ARRAY(SELECT c.relname::text FROM pg_class c
             WHERE c.oid = i.indexrelid OR c.oid IN (SELECT p.relid FROM pg_partition_tree(i.indexrelid) p)
             ORDER BY c.oid <> i.indexrelid),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = i.indrelid AND NOT a.attisdropped
               AND (a.attnum = ANY (i.indkey) OR a.attnum IN (
                   SELECT d.refobjsubid FROM pg_depend d
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid
                   UNION ALL  -- what a generated column is made of
                   SELECT d.refobjsubid FROM pg_depend d
                   JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                   JOIN pg_attribute g ON g.attrelid = f.adrelid AND g.attnum = f.adnum AND g.attgenerated <> ''
                   WHERE d.refobjid = i.indrelid AND f.adrelid = i.indrelid AND f.adnum = ANY (i.indkey)
                     AND d.refobjsubid <> f.adnum))
             ORDER BY a.attnum),
       -- indnkeyatts: without the columns that it only includes
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, false) FROM generate_series(1, i.indnkeyatts) n ORDER BY n),
       (SELECT ARRAY(SELECT 'OPERATOR(' || quote_ident(s.nspname) || '.' || o.oprname || ')'
                     FROM unnest(c.conexclop) WITH ORDINALITY AS used(id, n)
                     JOIN pg_operator o ON o.oid = used.id JOIN pg_namespace s ON s.oid = o.oprnamespace
                     ORDER BY n)
        FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype = 'x'),
       pg_get_expr(i.indpred, i.indrelid),
       i.indimmediate,
       -- a column from PostgreSQL 15 on; through JSON, a server without it gives null instead of an error
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       EXISTS (SELECT FROM unnest(i.indkey, i.indcollation) AS used (attnum, collation_id)
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = used.attnum
               WHERE used.collation_id <> a.attcollation AND used.collation_id <> 0)
FROM pg_index i
WHERE i.indrelid = %s::regclass AND i.indisvalid AND (i.indisunique OR i.indisexclusion)
ORDER BY i.indexrelid
