-- Whether a row whose record was not staged has that value.
SELECT EXISTS (SELECT FROM pg_temp.known AS k JOIN {table} AS t ON t.{key} = k._key WHERE ({value}) IS NOT NULL)
