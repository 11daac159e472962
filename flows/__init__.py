"""The flows: lms_to_s3 and course_to_s3, s3_to_rds, and department_sync and course_sync, which are both in a row."""
