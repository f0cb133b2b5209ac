"""What the commands of manage.py share: people by name, JSON last on stdout, refusals in plain words."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from django.core.management.base import BaseCommand

from appliance.accounts.models import User
from appliance.audit.record import Actor
from appliance.documents.models import Collection
from appliance.lib import place
from appliance.lib.errors import ApplianceError, NotFound
from appliance.lib.failures import translate

Options = Namespace

#: The actor of commands run on the machine itself, where the shell decides who may.
COMMAND = Actor(name="command")


def person(username: str) -> User:
    """An active account by its name. Raises NotFound (`user_not_found`)."""
    user = User.objects.filter(username=username.strip().lower(), is_active=True).first()
    if user is None:
        raise NotFound(f"There is no active account named {username!r}.", hint="Check the name.", code="user_not_found")
    return user


def collection_named(name: str) -> Collection:
    """A collection by its name. Raises NotFound (`collection_not_found`)."""
    found: Collection | None = Collection.objects.filter(name=name).first()
    if found is None:
        raise NotFound(
            f"There is no collection named {name!r}.",
            hint="Check the name, or make it with --create.",
            code="collection_not_found",
        )
    return found


class ApplianceCommand(BaseCommand):
    """A command that refuses in plain words (exit 1) and, with --json, prints one JSON object last on stdout."""

    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object, last on stdout")
        self.arguments(parser)

    def arguments(self, parser: ArgumentParser) -> None:
        """Adds the command's own arguments."""

    def act(self, options: Options) -> dict[str, Any]:
        """Does the work; returns what --json prints. Raises ApplianceErrors."""
        raise NotImplementedError

    def show(self, result: dict[str, Any]) -> None:
        """Prints the result for a person."""
        raise NotImplementedError

    def succeeded(self, result: dict[str, Any]) -> bool:
        """Whether the exit status is 0."""
        return True

    def handle(self, *args: Any, **options: Any) -> None:
        as_json = options.pop("json")
        place.enter(f"command {type(self).__module__.rsplit('.', 1)[-1]}")
        try:
            result = self.act(Options(**options))
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as failure:
            error = translate(failure)
            self._refuse(error, as_json)
            sys.exit(1)
        if as_json:
            self.stdout.write(json.dumps(result, ensure_ascii=False, default=str))
        else:
            self.show(result)
        if not self.succeeded(result):
            sys.exit(1)

    def _refuse(self, error: ApplianceError, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"error": error.as_dict()}, ensure_ascii=False))
        else:
            self.stderr.write(f"{error.message} {error.hint}".strip() + f" ({error.public_code})")
