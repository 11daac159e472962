-- The person's own rows.
DELETE FROM {table} AS t WHERE {of_person}
