-- Which objects were loaded into which tables.
SELECT DISTINCT table_name, bucket, object_key FROM {ledger}
