-- Rows that are new or differ go into the table; a row that is the same is not written, not even locked,
-- so a second identical load leaves no trace. The ON CONFLICT serves other writers, and the count.
WITH merged AS (
    INSERT INTO {table} AS t ({columns})
    SELECT {values}
    FROM pg_temp.staging AS s
    LEFT JOIN {table} AS t USING (lms_user_id)
    WHERE s._record BETWEEN %(first)s AND %(last)s
      AND (%(only)s::bigint[] IS NULL OR s._record = ANY (%(only)s))
      AND (t.lms_user_id IS NULL OR ({differs}){not_older})
    ON CONFLICT (lms_user_id) DO UPDATE SET {assignments}
    RETURNING (xmax = 0) AS inserted
)
SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM merged
