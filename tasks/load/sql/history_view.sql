-- The current state, as of the last load with history; recreated whenever the history gets a new column.
CREATE OR REPLACE VIEW {view} AS SELECT * FROM {history} WHERE valid_to = 'infinity'
