"""The Prefect tasks and, under them, plain functions with the work.

fetch    turn.py (the account lock), lms.py (session), exchange.py (one bounded request), patience.py (retries),
         members.py and pages.py (one page), fetch.py (the sweep and its proof)
shape    columns.py (names), flatten.py (pages to CSV)
publish  publish.py (volume guard, upload), s3.py (client, errors, reading back)
load     schema.py and align.py (the table, the plan), records.py, shapes.py and staging.py (COPY),
         merge.py and departures.py, ledger.py, rejects.py, upsert.py (one transaction), sql/ (its statements)
run      settings.py, options.py, files.py, database.py, policy.py (how tasks run)
tell     errors.py, trouble.py (what a library's exception means), text.py (text from outside), log.py, report.py,
         alert.py
"""
