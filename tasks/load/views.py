"""The views over both streams' tables: tasks/load/sql/department_course_progress.sql."""

from collections.abc import Mapping

import psycopg2
from prefect import task

from tasks.load.database import execute, one_row, quoted, savepoint, transaction
from tasks.log import run_logger
from tasks.streams import ENROLLMENTS, MEMBERS
from tasks.task_options import IN_MEMORY, RETRIED

VIEW, STATUS = "department_course_progress", "course_enrollment_status"


@task(name="create-views", **IN_MEMORY, **RETRIED)
def create_views(schema: str, tables: Mapping[str, str], *, blocks: str | None = None) -> bool:
    """Create the course-progress view if both tables exist; returns whether this run created it.

    If a table lacks the columns that the view needs, logs a warning; the load is not affected.
    """
    names = {
        "members": quoted(schema, tables[MEMBERS.name]),
        "enrollments": quoted(schema, tables[ENROLLMENTS.name]),
        "view": quoted(schema, VIEW),
        "status": quoted(schema, STATUS),
    }
    with transaction(blocks) as cursor:
        cursor.execute(
            # a view that is there may have been adapted by hand, as the warning below suggests
            "SELECT to_regclass(%(members)s) IS NOT NULL AND to_regclass(%(enrollments)s) IS NOT NULL "
            "AND to_regclass(%(view)s) IS NULL",
            names,
        )
        if not one_row(cursor)[0]:
            return False
        try:
            with savepoint(cursor):
                execute(cursor, "department_course_progress", **names)
        except psycopg2.ProgrammingError as error:
            run_logger().warning(
                "the view %s could not be created (%s, SQLSTATE %s). Create it from tasks/load/sql/%s.sql, adapted to "
                "your tables' columns.", names["view"], type(error).__name__, error.pgcode, VIEW,
            )  # fmt: skip
            return False
    run_logger().info("created the view %s", names["view"])
    return True
