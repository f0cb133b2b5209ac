"""A connection beside Django's, for long reads in the binary format: as the role that this process signs in with."""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings


def connect() -> psycopg.Connection[tuple[Any, ...]]:
    """Outside a transaction. Raises psycopg.OperationalError when the database is down."""
    given = settings.DATABASES["default"]
    return psycopg.connect(
        host=given["HOST"],
        port=given["PORT"],
        dbname=given["NAME"],
        user=given["USER"],
        password=given["PASSWORD"],
        connect_timeout=5,
        application_name="audit",
    )
