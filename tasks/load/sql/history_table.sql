-- Every state of each row that a load has left, from when until when. The load creates it on first use; where its user
-- may not, the schema's owner runs this once. No column is NOT NULL but the key, so that the table may change its mind.
CREATE TABLE {history} AS
SELECT *, clock_timestamp() AS valid_from, clock_timestamp() AS valid_to, ''::text AS change, 0::bigint AS load_id
FROM {table}
WITH NO DATA;

ALTER TABLE {history}
    ADD PRIMARY KEY ({key}, valid_from),
    ALTER COLUMN valid_to SET NOT NULL,
    ALTER COLUMN change SET NOT NULL,
    ALTER COLUMN load_id SET NOT NULL,
    ADD CHECK (valid_from <= valid_to),
    ADD CHECK (change IN ('inserted', 'updated', 'departed', 'returned'));

CREATE INDEX ON {history} (valid_from, load_id);
