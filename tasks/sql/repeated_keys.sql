-- How many keys the staging table holds more than once.
SELECT count(*) FROM (SELECT 1 FROM pg_temp.staging GROUP BY {staged_key} HAVING count(*) > 1) AS repeated
