-- Rows of others that refer to the person, no more.
UPDATE {table} AS t SET {column} = NULL WHERE {held}
