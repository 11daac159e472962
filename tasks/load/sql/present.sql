-- How many members of the department the table holds.
SELECT count(*) FROM {table} AS t WHERE lower(t.department_id::text) = %(department_id)s {present}
