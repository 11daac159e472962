-- One row per committed load, in the same transaction as its data. The load creates the table on first use. If its
-- user may not, the schema's owner runs this once per schema, with lms_loads in place of the name in braces.
-- A ledger from an earlier version has no stream or scope_id; its loads are of department members, by department_id.
CREATE TABLE {ledger} (
    load_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    loaded_at     timestamptz NOT NULL DEFAULT now(),
    table_name    text NOT NULL,
    bucket        text NOT NULL,
    object_key    text NOT NULL,
    version_id    text,
    etag          text NOT NULL,
    sha256        text NOT NULL,
    stream        text,
    scope_id      text,
    department_id text,
    snapshot_at   timestamptz,
    rows_read     bigint NOT NULL,
    inserted      bigint NOT NULL,
    updated       bigint NOT NULL,
    unchanged     bigint NOT NULL,
    duplicates    bigint NOT NULL,
    rejected      bigint NOT NULL,
    departed      bigint NOT NULL,
    returned      bigint NOT NULL,
    rejects_key   text,
    flow_run_id   text,
    CHECK (rows_read = inserted + updated + unchanged + duplicates + rejected)
)
