"""From the LMS to one CSV in S3: sign in, fetch every page, verify completeness, flatten, publish."""
