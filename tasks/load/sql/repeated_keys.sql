-- How many keys the file holds more than once.
SELECT count(*) FROM (
    SELECT 1
    FROM (SELECT {staged_key} FROM pg_temp.staging UNION ALL SELECT _key FROM pg_temp.rejected_keys) AS keys (_key)
    GROUP BY _key HAVING count(*) > 1
) AS repeated
