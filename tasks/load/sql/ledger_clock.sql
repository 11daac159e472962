-- The server's own time, not that of the transaction, which may have waited for a lock.
SELECT clock_timestamp()
