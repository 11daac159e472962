-- The current state, as the last load with history left it; read anew whenever the history gets a column.
CREATE OR REPLACE VIEW {view} AS SELECT * FROM {history} WHERE valid_to = 'infinity'
