-- Of the rows that share a key, the one edited last stays; where that is equal or unknown, the last in the file. The
-- rejected take part: an older row must not stand in for a newer one that was refused.
DELETE FROM pg_temp.staging
WHERE _record IN (
    SELECT _record
    FROM (
        SELECT _record, row_number() OVER (PARTITION BY _key ORDER BY {newest_first}) AS place
        FROM (
            SELECT _record, {staged_key} AS _key, {edited} AS _edited FROM pg_temp.staging
            UNION ALL
            SELECT _record, _key, _edited FROM pg_temp.rejected_keys
        ) AS rows_of_the_file
    ) AS ranked
    WHERE place > 1
)
