-- How many rows of the scope the table holds.
SELECT count(*) FROM {table} AS t WHERE lower(t.{scope_column}::text) = %(scope_id)s {present}
