-- The table beside the current state of its history: the rows whose last change the history has missed.
CREATE TEMPORARY TABLE {missed} ON COMMIT DROP AS
SELECT {stored}, {change}::text AS change
FROM {table} AS t
LEFT JOIN (SELECT * FROM {history} WHERE valid_to = 'infinity') AS h ON h.{key} = t.{key}
WHERE h.{key} IS NULL OR record_image_ne(ROW({stored}), ROW({known}))
UNION ALL
SELECT {known}, 'gone'
FROM {history} AS h
WHERE h.valid_to = 'infinity' AND NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = h.{key})
