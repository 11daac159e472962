"""From the LMS to one CSV in S3: sign in, fetch every page, prove them complete, flatten, publish."""
