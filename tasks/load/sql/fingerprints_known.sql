-- The rows that are still the version for which a fingerprint was recorded. After 2^31 transactions, transaction
-- numbers may be reused, so fingerprints that old no longer count.
INSERT INTO pg_temp.known (_number, _key, _fingerprint)
SELECT row_number() OVER () - 1, t.{key}, f.fingerprint
FROM {table} AS t
JOIN {fingerprints} AS f ON f.{key} = t.{key}
WHERE f.row_ctid = t.ctid AND f.row_xmin = t.xmin AND f.fingerprint IS NOT NULL
  AND f.recorded_at > txid_current() - 2147483648 AND {counts}
