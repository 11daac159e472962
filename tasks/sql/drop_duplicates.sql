-- Of the rows that share a key, the one edited last stays; where that is equal or unknown, the last in the file.
DELETE FROM pg_temp.staging
WHERE _record IN (
    SELECT _record
    FROM (
        SELECT _record, row_number() OVER (PARTITION BY {staged_key} ORDER BY {newest_first} _record DESC) AS place
        FROM pg_temp.staging
    ) AS ranked
    WHERE place > 1
)
