-- How many stored values of each column this load would turn to null.
SELECT number, count(*) FROM pg_temp.changes, unnest(emptied) AS number WHERE number > 0 GROUP BY number
