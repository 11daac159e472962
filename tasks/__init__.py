"""The Prefect tasks and, under them, plain functions with the work.

fetch    lms.py (session, retries), fetch.py (sweep and proof)
shape    columns.py (names), flatten.py (pages to CSV)
publish  s3.py (the object and its metadata)
load     schema.py, align.py, staging.py, merge.py, upsert.py (one transaction), sql/ (its statements)
tell     alert.py, report.py, errors.py
"""
