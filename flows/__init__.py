"""The flows: lms_to_s3 and course_to_s3 extract, s3_to_rds loads, department_sync and course_sync do both."""
