-- Every version of each row, with the period in which it was valid. The load creates it on first use; if its user may
-- not, the schema's owner runs this once. Only the key is NOT NULL, so that the table's constraints may change later.
CREATE TABLE {history} AS
SELECT {columns}, clock_timestamp() AS valid_from, clock_timestamp() AS valid_to, ''::text AS change, 0::bigint AS load_id
FROM {table} AS t
WITH NO DATA;

ALTER TABLE {history}
    ALTER COLUMN valid_from SET NOT NULL,
    ALTER COLUMN valid_to SET NOT NULL,
    ALTER COLUMN change SET NOT NULL,
    ALTER COLUMN load_id SET NOT NULL,
    ADD CHECK (valid_from <= valid_to),
    ADD CHECK (change IN ('inserted', 'updated', 'departed', 'returned'));
