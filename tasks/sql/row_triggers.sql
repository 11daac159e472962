-- Whether a trigger of the table or of a partition may rewrite a row before its constraints are asked.
SELECT EXISTS (
    SELECT FROM pg_trigger t
    WHERE t.tgrelid IN (SELECT %(table)s::regclass UNION SELECT relid FROM pg_partition_tree(%(table)s::regclass))
      AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
      AND t.tgtype & 1 = 1 AND t.tgtype & 2 = 2 AND t.tgtype & (4 | 16) <> 0  -- ROW, BEFORE, INSERT or UPDATE
)
