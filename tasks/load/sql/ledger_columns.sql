-- The names of the ledger's columns; null if there is no ledger.
SELECT array_agg(attname::text)
FROM pg_attribute
WHERE attrelid = to_regclass(%(ledger)s) AND attnum > 0 AND NOT attisdropped
