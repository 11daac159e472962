-- Whether a row was written under a key that no staged row has.
SELECT EXISTS (SELECT FROM pg_temp.written AS w
               WHERE NOT EXISTS (SELECT FROM pg_temp.staging AS s WHERE s.{staged_key} = w._key))
