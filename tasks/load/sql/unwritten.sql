-- Which of these rows were not written.
SELECT s._record FROM pg_temp.staging AS s
WHERE s._record = ANY (%(records)s) AND NOT EXISTS (SELECT FROM pg_temp.written AS w WHERE w._key = s.{staged_key})
