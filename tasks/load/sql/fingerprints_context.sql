-- Whether rows of the table keep their version until somebody writes them, and hold just what their columns' built-in
-- types make of a text; what there is for fingerprints, and what this user may do there; and everything of the cluster
-- and of the table that decides what a record becomes.
SELECT c.relkind = 'r' AND NOT c.relispartition AND NOT c.relhassubclass AND NOT c.relhasrules AND NOT c.relrowsecurity
           AND m.amname IS NOT DISTINCT FROM 'heap' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
           AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
           AND bool_and(a.attname <> ALL (%(loaded)s) OR t.typtype = 'e'
                        OR t.typtype = 'b' AND t.typnamespace = 'pg_catalog'::regnamespace AND t.typname <> 'money'),
       to_regclass(%(fingerprints)s) IS NOT NULL,
       CASE WHEN to_regclass(%(fingerprints)s) IS NULL
            THEN has_schema_privilege(c.relnamespace, 'CREATE')
            ELSE has_table_privilege(to_regclass(%(fingerprints)s), 'SELECT')
                 AND has_table_privilege(to_regclass(%(fingerprints)s), 'INSERT')
                 AND has_table_privilege(to_regclass(%(fingerprints)s), 'UPDATE')
                 AND has_table_privilege(to_regclass(%(fingerprints)s), 'DELETE')
                 AND (SELECT array_agg(f.attname || ' ' || f.atttypid::regtype ORDER BY f.attnum)
                          @> ARRAY['fingerprint uuid', 'row_ctid tid', 'row_xmin xid', 'recorded_at bigint']
                      FROM pg_attribute f
                      WHERE f.attrelid = to_regclass(%(fingerprints)s) AND f.attnum > 0 AND NOT f.attisdropped)
       END,
       (SELECT system_identifier FROM pg_control_system())::text || ' ' || c.oid || ' '
           || array_agg((a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation,
                         (SELECT array_agg(e.enumlabel ORDER BY e.oid) FROM pg_enum e WHERE e.enumtypid = a.atttypid))
                        ORDER BY a.attnum)::text
FROM pg_class c
LEFT JOIN pg_am m ON m.oid = c.relam
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid = %(table)s::regclass
GROUP BY c.oid, c.relkind, c.relispartition, c.relhassubclass, c.relhasrules, c.relrowsecurity, c.relnamespace, m.amname
