-- Each column's type as PostgreSQL writes it and the base type under its domains ("enum" for any enumeration);
-- for an array also the same two of its elements; whether its collation takes different texts for equal; that
-- collation's name, where it is not the type's own; and what a new row gets where nothing is loaded into the column: its
-- default, unless that differs from call to call, or what a generated column is made of.
WITH RECURSIVE base AS (
    SELECT a.attnum, a.attname, a.atttypid AS type_id, a.atttypmod AS modifier,
           format_type(a.atttypid, a.atttypmod) AS declared, NOT coalesce(c.collisdeterministic, true) AS folds,
           CASE WHEN a.attcollation <> t.typcollation THEN quote_ident(n.nspname) || '.' || quote_ident(c.collname) END
               AS collation_name
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN (pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace) ON c.oid = a.attcollation
    WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attnum, b.attname, t.typbasetype, t.typtypmod, b.declared, b.folds, b.collation_name
    FROM base b JOIN pg_type t ON t.oid = b.type_id AND t.typtype = 'd'
), resolved AS (
    SELECT b.*, t.typtype, t.typelem, t.typcategory
    FROM base b JOIN pg_type t ON t.oid = b.type_id AND t.typtype <> 'd'
), element AS (
    SELECT r.attnum, r.typelem AS type_id, r.modifier, format_type(r.typelem, r.modifier) AS declared
    FROM resolved r
    WHERE r.typcategory = 'A'
    UNION ALL
    SELECT e.attnum, t.typbasetype, t.typtypmod, e.declared
    FROM element e JOIN pg_type t ON t.oid = e.type_id AND t.typtype = 'd'
)
SELECT r.attname, r.declared,
       CASE r.typtype WHEN 'e' THEN 'enum' ELSE format_type(r.type_id, r.modifier) END,
       e.declared, CASE t.typtype WHEN 'e' THEN 'enum' ELSE format_type(e.type_id, e.modifier) END, r.folds,
       r.collation_name,
       (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
        WHERE d.adrelid = %(table)s::regclass AND d.adnum = r.attnum AND d.adbin::text !~ 'NEXTVALUEEXPR'
          -- the stored tree names each function that it calls; a volatile one may give another value each time
          AND NOT EXISTS (SELECT FROM regexp_matches(d.adbin::text, ':(?:op)?funcid (\d+)', 'g') AS called
                          JOIN pg_proc p ON p.oid = called[1]::oid AND p.provolatile = 'v'))
FROM resolved r
LEFT JOIN (element e JOIN pg_type t ON t.oid = e.type_id AND t.typtype <> 'd') ON e.attnum = r.attnum
ORDER BY r.attnum
