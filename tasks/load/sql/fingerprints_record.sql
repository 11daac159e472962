-- Records the fingerprints of the staged rows that were the same as the table's, and still are.
WITH equal AS (
    SELECT *
    FROM (
        SELECT NOT ({differs}) AS is_equal {version}
        FROM pg_temp.staging AS s
        JOIN {table} AS t ON t.{key} = s.{staged_key}
        WHERE NOT EXISTS (SELECT FROM pg_temp.changes AS c WHERE c._record = s._record)
        OFFSET 0  -- as in read_back.sql
    ) AS looked_up
    WHERE is_equal
) {recorded}
SELECT count(*) FROM equal
