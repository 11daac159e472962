-- Each column's type as PostgreSQL writes it, and the base type under its domains, if it is one.
WITH RECURSIVE base AS (
    SELECT a.attnum, a.attname, a.atttypid AS type_id, a.atttypmod AS modifier,
           format_type(a.atttypid, a.atttypmod) AS declared
    FROM pg_attribute a
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attnum, b.attname, t.typbasetype, t.typtypmod, b.declared
    FROM base b JOIN pg_type t ON t.oid = b.type_id AND t.typtype = 'd'
)
SELECT b.attname, b.declared, format_type(b.type_id, b.modifier)
FROM base b JOIN pg_type t ON t.oid = b.type_id AND t.typtype <> 'd'
ORDER BY b.attnum
