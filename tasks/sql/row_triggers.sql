-- Whether a trigger of the table or of a partition may rewrite a row before its constraints are asked; and whether
-- rows may change that nobody wrote: by any trigger, or by a foreign key that does more than refuse.
WITH relations AS (
    SELECT %(table)s::regclass AS relid UNION SELECT relid FROM pg_partition_tree(%(table)s::regclass)
), triggers AS (
    SELECT t.tgtype FROM pg_trigger t JOIN relations r ON r.relid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
)
SELECT EXISTS (SELECT FROM triggers WHERE tgtype & 3 = 3 AND tgtype & (4 | 16) <> 0),  -- BEFORE, ROW, INSERT or UPDATE
       EXISTS (SELECT FROM triggers) OR EXISTS (
           SELECT FROM pg_constraint c JOIN relations r ON r.relid = c.conrelid
           WHERE c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd')))
