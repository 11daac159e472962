-- Beside each loaded table: which record a row was found equal to, and the version of the row that was. The key's index
-- comes when the table is filled.
CREATE TABLE {fingerprints} AS
SELECT t.{key}, NULL::uuid AS fingerprint, t.ctid AS row_ctid, t.xmin AS row_xmin, 0::bigint AS recorded_at
FROM {table} AS t
WITH NO DATA
