-- How many of the staged members are marked as departed.
SELECT count(*) FROM pg_temp.staging AS s JOIN {table} AS t USING (lms_user_id) WHERE t.departed_at IS NOT NULL
