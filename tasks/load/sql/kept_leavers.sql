-- Leavers who did not go: their keys.
SELECT l._number, l._key::text FROM pg_temp.leavers AS l JOIN {table} AS t ON t.{key} = l._key {still_there} ORDER BY l._number
