"""The flows' parameters: each type and its explanation once, for signatures, Prefect's form and the command line."""

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


DepartmentId = Annotated[str | None, "the department's GUID, or several with commas between; else DEPARTMENT_ID."]
Bucket = Annotated[str | None, "where the CSV goes; else the saved block's, else S3_BUCKET_NAME."]
Path = Annotated[
    str | None,
    "the CSV's key, which may hold {department_id} and {snapshot_at:%Y/%m/%d}; else S3_DEPARTMENT_MEMBERS_PATH.",
]
CourseId = Annotated[str | None, "the course's GUID, or several with commas between; else COURSE_ID."]
ExpandSubdepartments = Annotated[bool, "read every department below them too, each as a snapshot of its own."]
IncludeSubdepartments = Annotated[
    bool, "take rows that the LMS gives from departments below into the department's own snapshot."
]
AllowShrink = Annotated[bool, "publish even no rows, or less than half of those last published."]
CoursePath = Annotated[
    str | None,
    "the CSV's key, which may hold {course_id} and {snapshot_at:%Y/%m/%d}; else "
    "S3_COURSE_ENROLLMENTS_PATH, else course_enrollments/{course_id}.csv.",
]
ColumnNames = Annotated[
    dict[str, str] | None,
    "LMS key to column, over the built-in names; else LMS_COLUMN_NAMES.",
]
ExcludeColumns = Annotated[list[str] | None, "keys or columns to leave out; else LMS_EXCLUDE_COLUMNS."]
HashColumns = Annotated[
    list[str] | None,
    "keys or columns whose values are replaced by hashes, custom_fields.KEY among them; else LMS_HASH_COLUMNS.",
]
AllowHashChange = Annotated[bool, "publish though LMS_HASH_KEY has changed, or nothing is hashed any more."]
SourceBucket = Annotated[str | None, "where the CSV lies; else the saved block's, else S3_BUCKET_NAME."]
SourceKey = Annotated[str | None, "the CSV's key, as the S3 event gives it; else S3_DEPARTMENT_MEMBERS_PATH."]
VersionId = Annotated[str | None, "the object's version, as the S3 event gives it; else the newest."]
SchemaName = Annotated[str | None, "the table's schema; else BUSINESS_TRACKING_SCHEMA."]
TableName = Annotated[
    str | None,
    "the table; else BUSINESS_TRACKING_TABLE, for enrollments BUSINESS_TRACKING_ENROLLMENTS_TABLE.",
]
CreateTable = Annotated[
    bool,
    "create the table, as in tasks/load/sql, where it is missing; and the view over both tables.",
]
Contract = Annotated[
    SchemaContract,
    "columns that the table lacks are left out (ignore), added (evolve), or an error (fail).",
]
MaxRejected = Annotated[
    str | None,
    "rows that may be refused, as a number or a percentage; else 1 %, at least 10.",
]
Departure = Annotated[
    OnDeparture,
    "rows whose member or enrollment is gone are kept, marked in departed_at, or deleted.",
]
MaxDepartures = Annotated[str, "the most rows that may go at once, as a number or a percentage."]
MaxEmptied = Annotated[
    str | None,
    "the most stored values of a column that may become null, or a percentage; else 50 %, at least 10.",
]
History = Annotated[
    bool,
    "keep every state of each row, with its times, in a second table: that of the table's name and _history.",
]
Replay = Annotated[bool, "apply a snapshot again, or an older one; even so no row gives way to an older edit."]
DryRun = Annotated[bool, "do everything but write to S3 or the table: real counts and the first differences."]
ShowValues = Annotated[bool, "let the differences show values, which are personal data."]
Blocks = Annotated[
    str | None,
    "the name under which this environment's blocks are saved; without it, the environment.",
]
