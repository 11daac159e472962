"""The streams: lists in the LMS, each with its table. Extract and load know nothing else about them.

A new stream is one entry here, one file in tasks/load/sql/ that creates its table, and its settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SQL = Path(__file__).parent / "load" / "sql"


@dataclass(frozen=True)
class Stream:
    """One list of the LMS, and the table that it becomes."""

    name: str
    """As the object's metadata has it; with `_`, the default table's name."""
    item_noun: str
    """What the rows are called in messages, in the plural."""
    scope_noun: str
    """What one snapshot covers, for messages: for example a department."""
    path: str
    """The endpoint, which may hold {scope_id}."""
    list_name: str
    """The envelope's key of the list."""
    keys: tuple[str, ...]
    """The keys of an item, in the API's order. They head every CSV, whether or not a page sends them."""
    guid_keys: frozenset[str]
    """Whose values are written in lower case."""
    scope_key: str
    """The key that says which scope an item belongs to."""
    key_column: str
    """The column on which rows are matched."""
    scope_column: str
    """The column of the scope; the path of the object may hold it in braces."""
    scope_setting: str
    path_setting: str
    table_setting: str
    """The environment's names of the scope, of the object's path, and of the table."""
    ddl: Path
    """The file that creates the table; {table} in it stands for the name."""
    id_key: str = "id"
    """The key of an item's id, which becomes `key_column`."""
    query: Mapping[str, str] = field(default_factory=dict)
    """The request's parameters beside those of paging; values may hold {scope_id}."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Columns whose name is not their key's in snake_case."""
    custom_fields: str | None = None
    """The key of an object that becomes one column of JSON."""
    left_out: frozenset[str] = frozenset()
    """Keys that become no column unless the user's own column names name them."""
    implies_scope: bool = False
    """Items may lack the scope's key, since the request names the scope; the scope is then filled in."""
    default_path: str | None = None
    """The object's path if neither a parameter nor the environment gives one."""
    foreign_hint: str = ""
    """A hint added to the message about items of other scopes."""
    edited_column: str | None = None
    """The column that shows which of two rows with one key is newer."""
    scopes_path: str = ""
    """The endpoint of each scope by its id; the response has its name."""
    scopes_list: str | None = None
    """The envelope's key of the list of all scopes, which form a tree by `parentId`; None where there is no tree."""

    @property
    def table(self) -> str:
        """The default table's name."""
        return self.name.replace("-", "_")

    @property
    def scope_metadata(self) -> str:
        """The name of the scope in the object's metadata."""
        return self.scope_column.replace("_", "-")

    @property
    def custom_fields_column(self) -> str | None:
        """The column of the custom fields."""
        return self.names.get(self.custom_fields) if self.custom_fields else None


@dataclass(frozen=True)
class Scope:
    """What one snapshot covers: for example, one department's members."""

    stream: Stream
    id: str
    """A GUID in lower case."""
    name: str = field(default="", compare=False)
    """As the LMS has it, harmless to show; empty where the account may not read it."""

    def __str__(self) -> str:
        return (
            f"{self.stream.scope_noun} {self.name} ({self.id})" if self.name else f"{self.stream.scope_noun} {self.id}"
        )

    @property
    def label(self) -> str:
        """A readable name: its name, or its id if the name is unknown."""
        return self.name or self.id


MEMBERS = Stream(
    name="department-members",
    item_noun="members",
    scope_noun="department",
    path="/users",
    list_name="users",
    # without the prefix `guid`, the LMS refuses the filter
    query={"_filter": "departmentId eq guid'{scope_id}'"},
    keys=(
        "id", "departmentId", "firstName", "middleName", "lastName", "username", "emailAddress", "externalId",
        "ccEmailAddresses", "languageId", "gender", "address", "address2", "city", "provinceId", "countryId",
        "postalCode", "phone", "employeeNumber", "location", "jobTitle", "referenceNumber", "dateHired",
        "dateTerminated", "dateEdited", "dateAdded", "lastLoginDate", "notes", "customFields", "roleIds",
        "activeStatus", "isLearner", "isAdmin", "isInstructor", "isManager", "supervisorId", "hasUsername",
    ),
    guid_keys=frozenset({"id", "departmentId", "provinceId", "countryId", "supervisorId"}),
    names={
        "id": "lms_user_id",
        "username": "user_name",
        "hasUsername": "has_user_name",
        "address2": "address_2",
        "customFields": "custom_fields",
    },
    custom_fields="customFields",
    scope_key="departmentId",
    key_column="lms_user_id",
    scope_column="department_id",
    foreign_hint=" (set include_subdepartments to include them)",
    edited_column="date_edited",
    scopes_path="/departments",
    scopes_list="departments",
    scope_setting="DEPARTMENT_ID",
    path_setting="S3_DEPARTMENT_MEMBERS_PATH",
    table_setting="BUSINESS_TRACKING_TABLE",
    ddl=SQL / "department_members.sql",
)  # fmt: skip

ENROLLMENTS = Stream(
    name="course-enrollments",
    item_noun="enrollments",
    scope_noun="course",
    path="/courses/{scope_id}/enrollments",
    list_name="enrollments",
    keys=(
        "id", "courseId", "userId", "courseName", "courseVersionId", "status", "progress", "score", "credits",
        "isActive", "dateAdded", "dateEdited", "dateStarted", "dateCompleted", "dateDue", "dateExpires", "accessDate",
        "timeSpentTicks", "timeSpent", "certificateId", "enrollmentKeyId", "courseCollectionId",
        "acceptedTermsAndConditions", "fullName", "jobTitle", "avatar",
    ),
    guid_keys=frozenset(
        {"id", "courseId", "userId", "courseVersionId", "certificateId", "enrollmentKeyId", "courseCollectionId"}
    ),
    names={"id": "lms_enrollment_id", "userId": "lms_user_id"},
    left_out=frozenset({"fullName", "jobTitle", "avatar"}),  # copies of the member's personal data
    scope_key="courseId",
    implies_scope=True,
    key_column="lms_enrollment_id",
    scope_column="course_id",
    edited_column="date_edited",
    scopes_path="/courses",
    scope_setting="COURSE_ID",
    path_setting="S3_COURSE_ENROLLMENTS_PATH",
    default_path="course_enrollments/{course_id}.csv",
    table_setting="BUSINESS_TRACKING_ENROLLMENTS_TABLE",
    ddl=SQL / "course_enrollments.sql",
)  # fmt: skip

STREAMS = {stream.name: stream for stream in (MEMBERS, ENROLLMENTS)}
"""Every stream, by its name."""
