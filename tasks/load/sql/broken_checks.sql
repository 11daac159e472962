-- Changed rows that one of the table's CHECK constraints would refuse.
SELECT "#record" FROM ({image}) AS image WHERE ({check}) IS FALSE
