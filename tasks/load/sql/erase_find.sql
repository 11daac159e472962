-- How many rows are the person's own; are others' and hold the id in a column of its own; mention it elsewhere.
SELECT count(*) FILTER (WHERE {of_person}),
       count(*) FILTER (WHERE {held}),
       count(*) FILTER (WHERE NOT {of_person} AND NOT coalesce({held}, false) AND t::text ~* %(pattern)s)
FROM {table} AS t
