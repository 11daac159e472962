-- Whether a trigger of the table or of a partition may rewrite a row before its constraints are asked; whether rows
-- may change that nobody wrote: by any trigger, of the table or of one that it takes rows of along by a foreign key that
-- does more than refuse, or by such a key of its own; and whether other tables inherit from it.
WITH RECURSIVE relations AS (
    SELECT %(table)s::regclass::oid AS relid UNION SELECT relid FROM pg_partition_tree(%(table)s::regclass)
), reached AS (
    SELECT relid FROM relations
    UNION
    SELECT c.conrelid FROM reached r JOIN pg_constraint c ON c.confrelid = r.relid
    -- cascade, set null, set default
    WHERE c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))
), triggers AS (
    -- those that fire in an ordinary session: by default, or always
    SELECT t.tgrelid, t.tgtype FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
)
SELECT EXISTS (SELECT FROM triggers JOIN relations ON relid = tgrelid
               WHERE tgtype & 3 = 3 AND tgtype & (4 | 16) <> 0),  -- BEFORE, ROW, INSERT or UPDATE
       EXISTS (SELECT FROM triggers JOIN reached ON relid = tgrelid) OR EXISTS (
           SELECT FROM pg_constraint c JOIN relations r ON r.relid = c.conrelid
           WHERE c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))),
       EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
               WHERE i.inhparent = %(table)s::regclass AND c.relkind <> 'p')
