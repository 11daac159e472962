-- The e-mail addresses of the person's rows.
SELECT DISTINCT t.{column}::text FROM {table} AS t WHERE {of_person} AND t.{column}::text LIKE '%%_@_%%'
