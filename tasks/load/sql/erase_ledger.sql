-- Which objects of the bucket were loaded into which tables.
SELECT DISTINCT table_name, object_key FROM {ledger} WHERE bucket = %(bucket)s
