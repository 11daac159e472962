"""Why PostgreSQL refused a row, in our own words; never its message text, which may contain personal data."""

import psycopg2

from tasks.load.database_errors import is_of_function, is_row_policy, raised_by_function
from tasks.load.schema import TableSchema

Reason = tuple[str, str]
"""The column that was refused, or "" for the row; and why."""
Reasons = dict[int, Reason]
"""By record number, from 1 below the header."""

DROPPED = "the table dropped the row without an error: a trigger, rule or policy"
_CONSTRAINTS = {
    "23505": 'another row already has this value (unique constraint "{name}")',
    "23503": 'refers to a missing row, or is still referred to (foreign key "{name}")',
    "23514": 'violates the table\'s check "{name}"',
    "23P01": 'conflicts with another row (exclusion constraint "{name}")',
}
_VALUES = {
    "22001": "is too long for type {type}",
    "22003": "is out of range for type {type}",
    "22007": "expected a value of type {type}",
    "22008": "is out of range for type {type}",
    "22P02": "expected a value of type {type}",
    "22P05": "contains a character that type {type} cannot store",
    "22021": "contains a character that the database's encoding cannot store",
    "54000": "is too large for an index of the table",  # a B-tree entry has a third of a page at most
}


def reason_of(error: psycopg2.Error, table: TableSchema, column: str = "") -> Reason:
    """Column and reason of a refusal, from its SQLSTATE and from names of the table's own catalogue."""
    state, diag = str(error.pgcode), error.diag
    name = diag.constraint_name or ""
    if is_row_policy(error):
        return "", "refused by the table's row level security"
    if raised_by_function(error):
        return "", f"refused by a trigger or function of the table (SQLSTATE {state})"
    # the check of a domain, which has a name but is no constraint of the table
    if state == "23514" and diag.datatype_name:
        return column, f"violates a check of type {diag.datatype_name}"
    if state in _CONSTRAINTS and name:
        return ", ".join(table.constrained_columns(name)) or column, _CONSTRAINTS[state].format(name=name)
    if state == "23502":
        return diag.column_name or column, "must have a value (NOT NULL)"
    if state == "23514":
        # PostgreSQL reports this as a violated check, without a constraint's name
        return "", "fits no partition of the table"
    found = table.column(column)
    if state in _VALUES and (found or state in {"22021", "54000"}):
        return column, _VALUES[state].format(type=found.declared if found else "")
    if is_of_function(diag.context):
        return column, f"refused by a trigger or function of the table (SQLSTATE {state})"
    return column, f"refused by the table (SQLSTATE {state})"
