"""The embedded default: real servers on 127.0.0.1 that stand in for the LMS, S3, SNS and PostgreSQL."""
