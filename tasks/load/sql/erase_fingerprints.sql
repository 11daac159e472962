-- Fingerprints whose row is gone, or is another version by now.
DELETE FROM {fingerprints} AS f
WHERE NOT EXISTS (
    SELECT FROM {table} AS t WHERE t.{key} = f.{key} AND t.ctid = f.row_ctid AND t.xmin = f.row_xmin
)
