-- Each staged record whose row holds just what it says, found equal in this statement, with the version that was; and
-- nothing any more of leavers whose rows are gone.
INSERT INTO {fingerprints} AS f ({key}, fingerprint, row_ctid, row_xmin, recorded_at)
SELECT t.{key}, s._fingerprint, t.ctid, t.xmin, txid_current()
FROM pg_temp.staging AS s
JOIN {table} AS t ON t.{key} = s.{staged_key}
WHERE NOT ({differs})
ON CONFLICT ({key}) DO UPDATE
SET fingerprint = EXCLUDED.fingerprint, row_ctid = EXCLUDED.row_ctid, row_xmin = EXCLUDED.row_xmin,
    recorded_at = EXCLUDED.recorded_at
;

DELETE FROM {fingerprints} AS f
USING pg_temp.leavers AS l
WHERE f.{key} = l._key AND NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = l._key)
