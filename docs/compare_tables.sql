-- Compare two member tables column by column: of the members in both, how many differ, and how.
--   psql "…" -v old=department_members -v new=department_members_next -f docs/compare_tables.sql
-- Every value is compared as JSON, so types do not matter where values agree. No value is shown.
WITH pair AS (
    SELECT to_jsonb(o) AS was, to_jsonb(n) AS now
    FROM :old AS o JOIN :new AS n ON lower(o.lms_user_id::text) = lower(n.lms_user_id::text)
), cell AS (
    SELECT name, was -> name AS was, now -> name AS now, was ->> name AS old_text, now ->> name AS new_text
    FROM pair, LATERAL jsonb_object_keys(was || now) AS name
    WHERE name <> 'lms_user_id'
)
SELECT name AS "column",
       count(*) FILTER (WHERE old_text IS NOT DISTINCT FROM new_text) AS same,
       count(*) FILTER (WHERE was IS NOT NULL AND now IS NOT NULL AND old_text <> new_text
                        AND btrim(old_text) <> '') AS other_value,
       count(*) FILTER (WHERE btrim(old_text) = '' AND new_text IS DISTINCT FROM old_text) AS blank_for_nothing,
       count(*) FILTER (WHERE old_text IS NULL AND new_text IS NOT NULL) AS only_in_new,
       count(*) FILTER (WHERE old_text IS NOT NULL AND btrim(old_text) <> '' AND new_text IS NULL) AS only_in_old
FROM cell GROUP BY name
UNION ALL SELECT '(members only in the old table)', NULL, NULL, NULL, NULL, count(*)
FROM :old AS o WHERE NOT EXISTS (SELECT FROM :new AS n WHERE lower(n.lms_user_id::text) = lower(o.lms_user_id::text))
UNION ALL SELECT '(members only in the new table)', NULL, NULL, NULL, count(*), NULL
FROM :new AS n WHERE NOT EXISTS (SELECT FROM :old AS o WHERE lower(o.lms_user_id::text) = lower(n.lms_user_id::text))
ORDER BY 1;
