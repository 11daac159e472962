-- The versions that end now: of each row that has a new one since. The keys go through a table of their own, indexed and
-- analysed, since a history that autovacuum has yet to see has no statistics, and a plan without them may take hours.
-- `+ interval '0'` keeps the planner from the index on valid_from, which it would read once for every row.
CREATE TEMPORARY TABLE history_keys AS
SELECT {key} AS _key FROM {history} WHERE valid_from = %(at)s AND load_id = %(load_id)s;

CREATE UNIQUE INDEX ON pg_temp.history_keys (_key);

ANALYZE pg_temp.history_keys;

UPDATE {history} AS h SET valid_to = %(at)s
FROM pg_temp.history_keys AS k
WHERE h.{key} = k._key AND h.valid_to = 'infinity' AND h.valid_from + interval '0' < %(at)s;

DROP TABLE pg_temp.history_keys
