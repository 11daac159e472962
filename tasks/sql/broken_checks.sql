-- Changed rows that one of the table's CHECK constraints would refuse.
SELECT _record FROM ({image}) AS image WHERE ({check}) IS FALSE
