"""Every way a run can fail, by what the operator does about it.

    PipelineError
    ├── ConfigError         correct the setting, block or address that the message names
    ├── AuthError           correct the account, key or permission that was refused
    ├── LmsUnavailable      nothing to correct here: run again when the LMS answers
    ├── IncompleteSnapshot  the LMS list was inconsistent: run again, then look at the page it names
    ├── SnapshotShrank      check whether so many members really left; then allow_shrink
    ├── ObjectInvalid       the S3 object is not what was published: extract again
    ├── SchemaMismatch      change the table, or the columns, as the message says
    ├── TooManyRejected     correct the rows or the table; then run again, or raise max_rejected
    ├── TooManyDepartures   check whether so many members really left; then raise max_departures
    ├── ColumnEmptied       see whether the LMS still sends the field; then raise max_emptied
    ├── LoadFailed          S3 or the database could not be reached: run again
    └── ScopesFailed        some of a run's departments or courses failed: each is listed with its own error

A message says where it happened, what was expected, what was found and what to do. It never holds
a secret or a person's data: it goes to logs, Prefect's database and SNS.
"""

from collections.abc import Iterable
from typing import Self

from tasks.text import harmless, one_line


class PipelineError(Exception):
    """A run that failed for a known reason; nothing was half done.

    Args:
        message: what happened; one line, whatever names and keys from outside it quotes.
        problems: several at once, such as every setting that is wrong; a line each.
    """

    retriable = False
    """Whether the same step may succeed if it is simply run again shortly."""
    status: int | None = None
    """What the LMS answered a request that it refused."""
    of_one_scope = False
    """Whether it is about one department or course alone, so that others of the same run may still succeed."""

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        self.message = harmless(message)
        self.problems = tuple(map(one_line, problems))  # our own sentences about settings, which name https://
        super().__init__(self.message, self.problems)

    def about_one_scope(self) -> Self:
        """Mark this error as caused by one department's or course's rows or permissions, and return it."""
        self.of_one_scope = True
        return self

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  - {problem}" for problem in self.problems)])


class ConfigError(PipelineError):
    """A setting is missing, malformed, or points at something that is not there."""


class AuthError(PipelineError):
    """A sign-in, key or permission was refused."""


class LmsUnavailable(PipelineError):
    """The LMS did not give a usable answer in the tries and time allowed."""


class IncompleteSnapshot(PipelineError):
    """The pages do not add up to one complete member list."""

    of_one_scope = True


class SnapshotShrank(PipelineError):
    """The department or course has no rows, or less than half as many as last published."""

    of_one_scope = True
    no_baseline = False
    """Whether it has no rows and nothing was ever published for it."""


class ObjectInvalid(PipelineError):
    """The object in S3 is missing, truncated, changed, or not a valid CSV."""

    of_one_scope = True


class SchemaMismatch(PipelineError):
    """The table is missing, has no unique key, or cannot take the file's columns."""


class TooManyRejected(PipelineError):
    """More rows than max_rejected were refused; nothing was loaded."""

    of_one_scope = True


class TooManyDepartures(PipelineError):
    """More members than max_departures are absent; nothing was loaded."""

    of_one_scope = True


class ColumnEmptied(PipelineError):
    """More of a column's values than max_emptied would become null; nothing was loaded."""

    of_one_scope = True


class LoadFailed(PipelineError):
    """S3 or the database refused or dropped the work; the table is as it was before."""


class ScopesFailed(PipelineError):
    """Some of a run's departments or courses failed, each for its own reason; the others are done."""


class Unreachable(LoadFailed):
    """A LoadFailed that a retry may fix: connection refused or dropped, server restarted, table locked, deadlock."""

    retriable = True
