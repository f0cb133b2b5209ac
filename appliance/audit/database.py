"""A connection beside Django's, for long reads in the binary format: as the role that this process signs in with."""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings

from appliance.lib.errors import DatabaseUnavailable


def connect() -> psycopg.Connection[tuple[Any, ...]]:
    """Outside a transaction. Raises DatabaseUnavailable."""
    given = settings.DATABASES["default"]
    try:
        return psycopg.connect(
            host=given["HOST"],
            port=given["PORT"],
            dbname=given["NAME"],
            user=given["USER"],
            password=given["PASSWORD"],
            connect_timeout=5,
            application_name="audit",
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable() from error
