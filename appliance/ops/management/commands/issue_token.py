"""manage.py issue_token USER --name N --days D"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from appliance.accounts.actions import do_issue_token
from appliance.accounts.models import Scope
from appliance.documents.access import access_collection
from appliance.ops.commands import COMMAND, ApplianceCommand, Options, collection_named, person


class Command(ApplianceCommand):
    help = "Makes an API token for a person and shows it this once."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USER")
        parser.add_argument("--name", required=True, help="what it is for")
        parser.add_argument("--days", type=int, required=True, help="how long it works, 1 to 366")

        parser.add_argument(
            "--scopes",
            default=",".join(Scope),
            help=f"what it may be used for, joined by commas: {', '.join(Scope)} (all)",
        )
        parser.add_argument(
            "--collections", default="", metavar="NAMES", help="only these collections, joined by commas (all)"
        )

    def act(self, options: Options) -> dict[str, Any]:
        names = [name.strip() for name in options.collections.split(",") if name.strip()]
        user = person(options.username)
        collections = [access_collection(user, collection_named(name).pk).pk for name in names] if names else None
        token, secret = do_issue_token(
            options.username,
            name=options.name,
            days=options.days,
            scopes=[scope.strip() for scope in options.scopes.split(",") if scope.strip()],
            collections=collections,
            actor=COMMAND,
        )
        return {
            "token": secret,
            "user": token.user.username,
            "prefix": token.prefix,
            "expires_at": token.expires_at,
            "scopes": token.scopes,
            "collections": token.collections,
        }

    def show(self, result: dict[str, Any]) -> None:
        self.stdout.write(result["token"])
        self.stderr.write(f"For {result['user']}, until {result['expires_at']:%d %B %Y}. It is not shown again.")
