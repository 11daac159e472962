"""The flows' parameters: each default and its explanation once, for the signature, Prefect's form and the command line.

Prefect puts the default in place of the Field when the flow is called, from Python too.
"""

from typing import Any

from pydantic import Field

DEPARTMENT_ID: Any = Field(None, description="the department's GUID; else DEPARTMENT_ID.")
BUCKET: Any = Field(None, description="where the CSV goes; else the saved block's, else S3_BUCKET_NAME.")
PATH: Any = Field(
    None,
    description="the CSV's key, which may hold {department_id} and {snapshot_at:%Y/%m/%d}; "
    "else S3_DEPARTMENT_MEMBERS_PATH.",
)
COURSE_ID: Any = Field(None, description="the course's GUID; else COURSE_ID.")
INCLUDE_SUBDEPARTMENTS: Any = Field(False, description="take in rows that the LMS gives from departments below, too.")
ALLOW_SHRINK: Any = Field(False, description="publish even no rows, or less than half of those last published.")
COURSE_PATH: Any = Field(
    None,
    description="the CSV's key, which may hold {course_id} and {snapshot_at:%Y/%m/%d}; else "
    "S3_COURSE_ENROLLMENTS_PATH, else course_enrollments/{course_id}.csv.",
)
COLUMN_NAMES: Any = Field(None, description="LMS key to column, over the built-in names; else LMS_COLUMN_NAMES.")
EXCLUDE_COLUMNS: Any = Field(None, description="keys or columns to leave out; else LMS_EXCLUDE_COLUMNS.")

SOURCE_BUCKET: Any = Field(None, description="where the CSV lies; else the saved block's, else S3_BUCKET_NAME.")
SOURCE_KEY: Any = Field(None, description="the CSV's key, as the S3 event gives it; else S3_DEPARTMENT_MEMBERS_PATH.")
VERSION_ID: Any = Field(None, description="the object's version, as the S3 event gives it; else the newest.")

SCHEMA_NAME: Any = Field(None, description="the table's schema; else BUSINESS_TRACKING_SCHEMA.")
TABLE_NAME: Any = Field(
    None, description="the table; else BUSINESS_TRACKING_TABLE, for enrollments BUSINESS_TRACKING_ENROLLMENTS_TABLE."
)
CREATE_TABLE: Any = Field(
    False,
    description="create the table, as in tasks/load/sql, where it is missing; and the view over both tables.",
)
SCHEMA_CONTRACT: Any = Field(
    "ignore", description="columns that the table lacks are left out (ignore), added (evolve), or an error (fail)."
)
MAX_REJECTED: Any = Field(
    None, description="rows that may be refused, as a number or a percentage; else 1 %, at least 10."
)
ON_DEPARTURE: Any = Field(
    "keep", description="rows whose member or enrollment is gone are kept, marked in departed_at, or deleted."
)
MAX_DEPARTURES: Any = Field("20%", description="the most rows that may go at once, as a number or a percentage.")
MAX_EMPTIED: Any = Field(
    None,
    description="the most stored values of a column that may become null, or a percentage; else 50 %, at least 10.",
)
REPLAY: Any = Field(
    False, description="apply a snapshot again, or an older one; even so no row gives way to an older edit."
)
DRY_RUN: Any = Field(
    False, description="do everything but write to S3 or the table: real counts and the first differences."
)
SHOW_VALUES: Any = Field(False, description="let the differences show values, which are personal data.")
BLOCKS: Any = Field(
    None, description="the name under which this environment's blocks are saved; without it, the environment."
)
