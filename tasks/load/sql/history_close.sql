-- The states that end now: of each row that has a later one, which began now.
UPDATE {history} AS h SET valid_to = %(at)s
FROM {history} AS later
WHERE later.valid_from = %(at)s AND later.load_id = %(load_id)s AND h.{key} = later.{key}
  AND h.valid_to = 'infinity'
  AND h.valid_from + interval '0' < %(at)s  -- not by the index on valid_from, which would be read once for every row
