-- One row for each member and course, even if the member is not enrolled: the member's progress in the active
-- enrollment, and whether any of the pair's enrollments, historical ones included, was completed. Members and
-- enrollments that have departed are left out. `--create-table` makes both views once both tables are there.
CREATE OR REPLACE VIEW {status} AS
SELECT status, name
FROM (VALUES (0, 'NotStarted'), (1, 'InProgress'), (2, 'PendingApproval'), (3, 'Complete'), (4, 'NotComplete'),
             (5, 'Failed'), (6, 'Declined'), (7, 'PendingEvaluationRequired'), (8, 'OnWaitlist'), (9, 'Absent'),
             (10, 'NotApplicable'), (11, 'PendingProctor'), (12, 'ReadyForReview')) AS words (status, name);

CREATE VIEW {view} AS
WITH present AS (
    SELECT * FROM {enrollments} WHERE departed_at IS NULL
), courses AS (
    SELECT DISTINCT ON (course_id) course_id, course_name
    FROM present
    ORDER BY course_id, date_edited DESC NULLS LAST
), pairs AS (
    SELECT course_id, lms_user_id, bool_or(status = 3) AS was_completed,
           max(date_completed) FILTER (WHERE status = 3) AS last_completed
    FROM present
    GROUP BY course_id, lms_user_id
), active AS (
    SELECT DISTINCT ON (course_id, lms_user_id) *
    FROM present
    WHERE is_active IS NOT FALSE  -- the LMS may leave it out
    ORDER BY course_id, lms_user_id, date_added DESC NULLS LAST, date_edited DESC NULLS LAST
)
SELECT m.department_id, m.lms_user_id, m.user_name, m.first_name, m.last_name,
       c.course_id, c.course_name,
       a.lms_enrollment_id, s.name AS status, a.progress, a.score, a.date_due,
       round(a.time_spent_ticks / 36000000000.0, 2) AS hours,  -- ticks of 100 ns
       coalesce(p.was_completed, false) AS was_completed, p.last_completed
FROM {members} AS m
CROSS JOIN courses AS c
LEFT JOIN active AS a ON a.course_id = c.course_id AND a.lms_user_id = m.lms_user_id
LEFT JOIN pairs AS p ON p.course_id = c.course_id AND p.lms_user_id = m.lms_user_id
LEFT JOIN {status} AS s ON s.status = a.status
WHERE m.departed_at IS NULL
