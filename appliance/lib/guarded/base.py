"""Django's PostgreSQL backend, with the principal set by SET LOCAL in each transaction.

Row-level security asks who is reading. That must hold for exactly one transaction: a setting of the session would
stay on a pooled connection for whoever gets it next. So each transaction's first statement for a person is preceded
by `reading_room_enter(person, collections)`, and a statement outside a transaction gets one of its own. Without a
principal nothing is set, and the policies show the application's role nothing.

A process that signs in with a role of its own (workers, commands) runs as that role, which sees what its policies say.
What it does for a person it does in the application's role: OPTIONS["person_role"].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.backends.postgresql import base

from appliance.lib.principal import Principal, current_principal

_NOT_ENTERED: Any = object()


class DatabaseWrapper(base.DatabaseWrapper):
    """One connection. `_entered` is the principal its open transaction was told, nobody's (None) at its start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entered: Principal | None = None
        self._entering = False
        self.execute_wrappers.append(self._as_principal)

    def get_connection_params(self) -> dict[str, Any]:
        parameters = super().get_connection_params()
        parameters.pop("person_role", None)
        return parameters

    def _as_principal(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        if self._entering:
            return execute(sql, params, many, context)
        principal = current_principal()
        if self.in_atomic_block or not self.get_autocommit():
            if self._entered != principal:
                self._enter(principal)
            return execute(sql, params, many, context)
        if principal is None:
            return execute(sql, params, many, context)
        with transaction.atomic(using=self.alias):
            self._enter(principal)
            return execute(sql, params, many, context)

    def _enter(self, principal: Principal | None) -> None:
        role = self.settings_dict["OPTIONS"].get("person_role")
        self._entering = True
        try:
            with self.cursor() as cursor:
                if role:
                    cursor.execute(f"SET LOCAL ROLE {self.ops.quote_name(role) if principal else 'NONE'}")
                person, only = (principal.person, principal.collections) if principal else (None, None)
                given = None if only is None else list(only)
                cursor.execute("SELECT reading_room_enter(%s, %s::uuid[])", [person, given])
            self._entered = principal
        finally:
            self._entering = False

    # What was set locally ends with the transaction, and with the savepoint that it was set in.

    def _commit(self) -> None:
        self._entered = None
        super()._commit()  # type: ignore[misc]  # the stubs leave out what Django calls private

    def _rollback(self) -> None:
        self._entered = None
        super()._rollback()  # type: ignore[misc]

    def _savepoint_rollback(self, sid: str) -> None:
        self._entering = True  # nothing else can be said to a broken transaction than this
        try:
            super()._savepoint_rollback(sid)  # type: ignore[misc]
        finally:
            self._entering = False
            self._entered = _NOT_ENTERED

    def close(self) -> None:
        self._entered = None
        super().close()
