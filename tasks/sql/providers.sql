-- Rows of this load that refer, by a foreign key of the table to itself, to a row which is only now to come.
SELECT DISTINCT wants._record, gives._record
FROM ({image}) AS wants
JOIN ({image}) AS gives ON {matches} AND gives._record <> wants._record
LEFT JOIN {table} AS t ON t.{key} = gives._key
WHERE t.{key} IS NULL OR ({moved})
