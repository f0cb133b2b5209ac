"""Statements that run very often, prepared on the server: planned once for each connection, not each time.

Django binds parameters into the text of a statement, so PostgreSQL plans it anew each time. For the few statements
that every request runs, that is most of what they cost.
"""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import connection


def run_prepared(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement on tables that are the same for everybody; in the caller's transaction when there is one.

    It is not told for whom it runs. Raises Django's database errors.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(sql, parameters, prepare=True)
        return cursor.fetchall()
