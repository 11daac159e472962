"""What both halves of the pipeline share; `tasks.extract` reads the LMS into S3, `tasks.load` S3 into the table.

settings   settings.py (what a run works with), credentials.py (blocks or environment), options.py, task_options.py
objects    s3.py (client, errors, reading back), metadata.py, columns.py (names), files.py (the run's own directory)
failures   errors.py (the tree), library_errors.py (what a library's exception means), alert.py, chat.py
reports    report.py, events.py, log.py, text.py (text from outside)

`python -m tasks.check` and `python -m tasks.ledger` are commands, which live in `commands`.
"""
