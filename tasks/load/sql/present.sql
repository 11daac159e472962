-- How many rows of the scope the table holds.
SELECT count(*) FROM {table} AS t WHERE {of_scope} {present}
