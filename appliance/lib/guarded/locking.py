"""Turning row-level security on for tables, as migrations do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

#: table -> (which rows a person may read, which they may write): SQL conditions on its columns.
Rules = Mapping[str, tuple[str, str]]


def lock(schema_editor: Any, rules: Rules, *, worker: str = "true") -> None:
    """Each table shows the application's role what `rules` say, the workers' role what `worker` says, its owner all.

    FORCE makes the owner subject to policies too: without the one named here even a function of the owner's,
    called by a person, would go past them by accident and not by decision.
    """
    quote = schema_editor.connection.ops.quote_name
    owner = quote(schema_editor.connection.settings_dict["USER"])
    workers, people = quote(settings.DATABASE_WORKER_ROLE), quote(settings.DATABASE_PERSON_ROLE)
    for table, (readable, writable) in rules.items():
        schema_editor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        schema_editor.execute(f"CREATE POLICY owner ON {table} TO {owner} USING (true)")
        schema_editor.execute(f"CREATE POLICY worker ON {table} TO {workers} USING ({worker})")
        schema_editor.execute(f"CREATE POLICY person ON {table} TO {people} USING ({readable})")
        if writable == readable:
            continue
        for act, clause in (("INSERT", "WITH CHECK"), ("UPDATE", "USING"), ("DELETE", "USING")):
            schema_editor.execute(
                f"CREATE POLICY person_{act.lower()} ON {table} AS RESTRICTIVE FOR {act} TO {people} "
                f"{clause} ({writable})"
            )


def unlock(schema_editor: Any, rules: Rules) -> None:
    """The reverse of `lock`."""
    for table in rules:
        for policy in ("owner", "worker", "person", "person_insert", "person_update", "person_delete"):
            schema_editor.execute(f"DROP POLICY IF EXISTS {policy} ON {table}")
        schema_editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
