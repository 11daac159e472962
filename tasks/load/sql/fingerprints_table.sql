-- For each loaded table: which record a row was found equal to, and the version of the row that was compared. The
-- index on the key is created once the table is filled.
CREATE TABLE {fingerprints} AS
SELECT t.{key}, NULL::uuid AS fingerprint, t.ctid AS row_ctid, t.xmin AS row_xmin, 0::bigint AS recorded_at
FROM {table} AS t
WITH NO DATA
