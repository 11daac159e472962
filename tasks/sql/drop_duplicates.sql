-- Of the rows that share a key, the one edited last stays; where that is equal or unknown, the last in the file.
DELETE FROM pg_temp.staging
WHERE record IN (
    SELECT record
    FROM (
        SELECT record, row_number() OVER (PARTITION BY lms_user_id ORDER BY {newest_first} record DESC) AS place
        FROM pg_temp.staging
    ) AS ranked
    WHERE place > 1
)
