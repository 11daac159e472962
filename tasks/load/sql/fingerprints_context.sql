-- Whether the table's rows keep their version until somebody writes them, and hold exactly what their columns' built-in
-- types make of a text; whether there is a fingerprint table; whether it is as this load would create it and this user
-- may write to it, or else whether this user may create it; and everything about the cluster and the table that
-- determines what a record becomes.
SELECT c.relkind = 'r' AND NOT c.relispartition AND NOT c.relhassubclass AND NOT c.relhasrules AND NOT c.relrowsecurity
           -- other storage may give ctid and xmin another meaning
           AND m.amname IS NOT DISTINCT FROM 'heap' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
           AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
           AND bool_and(a.attname <> ALL (%(loaded)s) OR t.typtype = 'e'
                        OR t.typtype = 'b' AND t.typnamespace = 'pg_catalog'::regnamespace
                           -- their text depends on settings or on names in the catalogue
                           AND t.typname !~ '^_?(money|aclitem|reg.*)$')
           AND has_table_privilege(c.oid, 'SELECT'),  -- otherwise xmin and ctid cannot be read
       f.oid IS NOT NULL,
       CASE WHEN f.oid IS NULL THEN has_schema_privilege(c.relnamespace, 'CREATE') AND to_regtype(%(fingerprints)s) IS NULL
            ELSE f.relkind = 'r' AND NOT f.relrowsecurity AND NOT f.relhasrules AND NOT f.relhassubclass
                 AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = f.oid)  -- foreign keys are triggers too
                 -- a primary key, and from PostgreSQL 18 on NOT NULL, are constraints too
                 AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = f.oid AND k.contype NOT IN ('p', 'n'))
                 AND has_table_privilege(f.oid, 'SELECT') AND has_table_privilege(f.oid, 'INSERT')
                 AND has_table_privilege(f.oid, 'UPDATE') AND has_table_privilege(f.oid, 'DELETE')
                 AND (SELECT array_agg(format('%%s %%s %%s', o.attname, format_type(o.atttypid, o.atttypmod), o.attcollation)
                                       || o.attgenerated::text || o.attidentity::text ORDER BY o.attnum)
                      FROM pg_attribute o WHERE o.attrelid = f.oid AND o.attnum > 0 AND NOT o.attisdropped)
                     = min(format('%%s %%s %%s', a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation))
                           FILTER (WHERE a.attname = %(key)s)
                       || ARRAY['fingerprint uuid 0', 'row_ctid tid 0', 'row_xmin xid 0', 'recorded_at bigint 0']
                 AND EXISTS (SELECT FROM pg_index i
                             WHERE i.indrelid = f.oid AND i.indisprimary AND i.indkey::text = '1' AND i.indisvalid
                               AND i.indimmediate)
       END,
       (SELECT system_identifier FROM pg_control_system())::text || ' ' || c.oid || ' '
           || array_agg((a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation, a.attnotnull, a.attgenerated, a.attidentity,
                         (SELECT array_agg(e.enumlabel ORDER BY e.oid) FROM pg_enum e WHERE e.enumtypid = a.atttypid))
                        ORDER BY a.attnum)::text
FROM pg_class c
LEFT JOIN pg_am m ON m.oid = c.relam
LEFT JOIN pg_class f ON f.oid = to_regclass(%(fingerprints)s)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid = %(table)s::regclass
GROUP BY c.oid, c.relkind, c.relispartition, c.relhassubclass, c.relhasrules, c.relrowsecurity, c.relnamespace, m.amname,
         f.oid, f.relkind
