-- The states that begin now. Of a row that is gone, one that ends as it begins says when, and what it was last.
INSERT INTO {history} ({columns}, valid_from, valid_to, change, load_id)
SELECT {values}, %(at)s, CASE WHEN {change} = 'gone' THEN %(at)s ELSE 'infinity'::timestamptz END,
       CASE WHEN {change} = 'gone' THEN 'departed' ELSE {change} END, %(load_id)s
FROM {rows}
