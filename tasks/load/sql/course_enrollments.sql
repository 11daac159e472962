-- The table for course enrollments: one row per enrollment, keyed on lms_enrollment_id.
-- A member who enrolls again gets a new enrollment and the old one becomes historical (is_active false), so a member may
-- have several for one course. `--create-table` runs this if the table is missing. To use other types, create it by hand.
CREATE TABLE {table} (
    lms_enrollment_id             uuid PRIMARY KEY,
    course_id                     uuid,
    lms_user_id                   uuid,
    course_name                   text,
    course_version_id             uuid,
    status                        integer,  -- 0 to 12; course_enrollment_status has the words
    progress                      numeric,  -- percent
    score                         numeric,  -- percent
    credits                       numeric,
    is_active                     boolean,
    date_added                    timestamptz,
    date_edited                   timestamptz,
    date_started                  timestamptz,
    date_completed                timestamptz,
    date_due                      timestamptz,
    date_expires                  timestamptz,
    access_date                   timestamptz,
    time_spent_ticks              bigint,  -- 100 ns each
    time_spent                    text,
    certificate_id                uuid,
    enrollment_key_id             uuid,
    course_collection_id          uuid,  -- the bundle or curriculum that it came through
    accepted_terms_and_conditions boolean,
    departed_at                   timestamptz
)
