-- Rows of this load that refer, by a foreign key of the table to itself, to a row which is only now to come.
SELECT DISTINCT wants."#record", gives."#record"
FROM ({image}) AS wants
JOIN ({image}) AS gives ON {matches} AND gives."#record" <> wants."#record"
LEFT JOIN {table} AS t ON t.{key} = gives."#key"
WHERE t.{key} IS NULL OR ({moved})
