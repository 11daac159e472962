-- The same for each key of the custom fields; and the keys that rows of this load have and their stored ones lack.
SELECT name, count(*) FILTER (WHERE had), count(*) FILTER (WHERE has)
FROM pg_temp.changes AS c
JOIN pg_temp.staging AS s USING (_record)
JOIN {table} AS t ON t.{key} = s.{staged_key}
CROSS JOIN LATERAL (
    SELECT name, bool_or(side = 't') AS had, bool_or(side = 's') AS has
    -- jsonb_each fails on anything but an object
    FROM (SELECT 't' AS side, e.key AS name
          FROM jsonb_each(CASE jsonb_typeof({stored}) WHEN 'object' THEN {stored} END) AS e WHERE e.value <> 'null'
          UNION ALL
          SELECT 's', e.key
          FROM jsonb_each(CASE jsonb_typeof({loaded}) WHEN 'object' THEN {loaded} END) AS e WHERE e.value <> 'null') AS keys
    GROUP BY name
) AS compared
WHERE -1 = ANY (c.emptied) AND had <> has
GROUP BY name
