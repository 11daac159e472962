-- Which columns have a value in the first stored rows of the scope, and how many rows these are.
SELECT count(*), {values}
FROM (SELECT * FROM {table} AS t WHERE {in_scope} LIMIT %(most)s) AS t
