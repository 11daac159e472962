-- How many stored rows of the scope have a value there; for a plain file, of the rows whose keys it holds.
SELECT count(*) FROM (
    SELECT FROM {table} AS t WHERE ({value}) IS NOT NULL AND {in_scope} LIMIT {most}
) AS found
