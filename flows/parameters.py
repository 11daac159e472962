"""The flows' parameters: each type and help text defined once, for signatures, Prefect's form and the command line."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from tasks.options import OnDeparture, SchemaContract

FlowFunction = TypeVar("FlowFunction", bound=Callable[..., Any])


def documented(function: FlowFunction) -> FlowFunction:
    """The function with its parameters explained in its docstring, where Prefect's form reads them."""
    kinds = get_type_hints(function, include_extras=True)
    lines = [f"    {name}: {get_args(kinds[name])[1]}" for name in inspect.signature(function).parameters]
    function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Args:", *lines])
    return function


DepartmentId = Annotated[str | None, "the department's GUID, or several separated by commas; default: DEPARTMENT_ID."]
Bucket = Annotated[str | None, "the bucket to write the CSV to; default: the saved block's bucket, or S3_BUCKET_NAME."]
Path = Annotated[
    str | None,
    "the CSV's key, which may contain {department_id} and {snapshot_at:%Y/%m/%d}; default: S3_DEPARTMENT_MEMBERS_PATH.",
]
CourseId = Annotated[str | None, "the course's GUID, or several separated by commas; default: COURSE_ID."]
ExpandSubdepartments = Annotated[bool, "also read every department below the given ones, each as its own snapshot."]
IncludeSubdepartments = Annotated[
    bool, "keep rows of departments below that the LMS returns for a department, as part of its snapshot."
]
AllowShrink = Annotated[bool, "publish even if there are no rows, or less than half as many as last published."]
CoursePath = Annotated[
    str | None,
    "the CSV's key, which may contain {course_id} and {snapshot_at:%Y/%m/%d}; default: "
    "S3_COURSE_ENROLLMENTS_PATH, or course_enrollments/{course_id}.csv.",
]
ColumnNames = Annotated[
    dict[str, str] | None,
    "column names by LMS key, overriding the built-in names; default: LMS_COLUMN_NAMES.",
]
ExcludeColumns = Annotated[list[str] | None, "LMS keys or columns to leave out; default: LMS_EXCLUDE_COLUMNS."]
HashColumns = Annotated[
    list[str] | None,
    "LMS keys or columns whose values are replaced by hashes, including custom_fields.KEY; default: LMS_HASH_COLUMNS.",
]
AllowHashChange = Annotated[bool, "publish even if LMS_HASH_KEY has changed, or if a column is no longer hashed."]
SourceBucket = Annotated[
    str | None, "the bucket that holds the CSV; default: the saved block's bucket, or S3_BUCKET_NAME."
]
SourceKey = Annotated[str | None, "the CSV's key, as given in the S3 event; default: S3_DEPARTMENT_MEMBERS_PATH."]
VersionId = Annotated[str | None, "the object's version id, as given in the S3 event; default: the newest version."]
SchemaName = Annotated[str | None, "the table's schema; default: BUSINESS_TRACKING_SCHEMA."]
TableName = Annotated[
    str | None,
    "the table; default: BUSINESS_TRACKING_TABLE, or BUSINESS_TRACKING_ENROLLMENTS_TABLE for enrollments.",
]
CreateTable = Annotated[
    bool,
    "create the table (from tasks/load/sql) if it is missing, and the view department_course_progress once both "
    "tables exist.",
]
Contract = Annotated[
    SchemaContract,
    "what to do with columns that the table lacks: leave them out (ignore), add them (evolve) or fail (fail).",
]
MaxRejected = Annotated[
    str | None,
    "the most rows that may be rejected, as a number or a percentage; default: 1 %, at least 10.",
]
Departure = Annotated[
    OnDeparture,
    "what to do with rows whose member or enrollment is gone: keep, mark (in departed_at) or delete.",
]
MaxDepartures = Annotated[str, "the most rows that may be marked or deleted in one load, as a number or a percentage."]
MaxEmptied = Annotated[
    str | None,
    "the most stored values of a column that may become null, as a number or a percentage; default: 50 %, at least 10.",
]
History = Annotated[
    bool,
    "keep every version of each row, with its period of validity, in a second table, <table>_history.",
]
Replay = Annotated[
    bool, "load a snapshot again, or load an older one; even then, no row is replaced by one with an older edit date."
]
DryRun = Annotated[
    bool, "do everything except write to S3 or the table; reports the real counts and the first differences."
]
ShowValues = Annotated[bool, "show values in the first differences of a dry run; these are personal data."]
Blocks = Annotated[
    str | None,
    "the name of the saved blocks to use; default: environment variables instead of blocks.",
]
