-- When the history was last written; and whether the table may hold what it does not, since it is new, or since a load
-- without history has changed the table.
SELECT last.valid_from,
       last.load_id IS NULL
       OR NOT EXISTS (SELECT FROM {ledger}  -- a ledger that was lost counts from 1 again
                      WHERE load_id = last.load_id AND table_name = %(table_name)s AND loaded_at <= last.valid_from)
       OR EXISTS (SELECT FROM {ledger}
                  WHERE load_id > last.load_id AND table_name = %(table_name)s AND inserted + updated + departed > 0)
FROM (SELECT) AS one
LEFT JOIN (SELECT valid_from, load_id FROM {history} ORDER BY valid_from DESC, load_id DESC LIMIT 1) AS last ON true
