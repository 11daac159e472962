-- Every scope that the table has rows of, and how many.
SELECT lower({scope_column}::text), count(*) FROM {table} {present} GROUP BY 1 HAVING lower({scope_column}::text) IS NOT NULL ORDER BY 1
