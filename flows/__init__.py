"""The three flows: lms_to_s3, s3_to_rds, and department_sync, which is both in a row."""
