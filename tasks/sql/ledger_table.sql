-- One row for each load that was committed, in the same transaction as its data. The load creates the
-- table on first use; run this by hand, once a schema, where its user may not create tables.
CREATE TABLE {ledger} (
    load_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    loaded_at     timestamptz NOT NULL DEFAULT now(),
    table_name    text NOT NULL,
    bucket        text NOT NULL,
    object_key    text NOT NULL,
    version_id    text,
    etag          text NOT NULL,
    sha256        text NOT NULL,
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
