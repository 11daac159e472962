-- Staged rows that refer to a row which is neither in the table they name nor about to be.
SELECT s._record
FROM pg_temp.staging AS s
WHERE {given}
  AND s._record <> ALL (%(refused)s::bigint[])
  AND NOT EXISTS (SELECT FROM {referred} AS r WHERE {matches})
  AND NOT EXISTS (SELECT FROM pg_temp.staging AS o WHERE {staged} AND o._record <> ALL (%(refused)s::bigint[]))
