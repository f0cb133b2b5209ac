"""manage.py search QUERY --as USER [--collection NAME] [-k 10] [--json]"""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

from appliance.accounts.models import User
from appliance.documents.access import collections_for
from appliance.documents.audited import do_search
from appliance.lib.errors import NotFound
from appliance.lib.principal import acting_as
from appliance.ops.commands import COMMAND, ApplianceCommand, Options, person


class Command(ApplianceCommand):
    help = "Searches as a person would see it. Recorded like any search."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("query", metavar="QUERY")
        parser.add_argument("--as", dest="username", required=True, metavar="USER")
        parser.add_argument("--collection", metavar="NAME")
        parser.add_argument("-k", type=int, default=10)

    def act(self, options: Options) -> dict[str, Any]:
        user = person(options.username)
        with acting_as(user.pk):
            return self._found(user, options)

    def _found(self, user: User, options: Options) -> dict[str, Any]:
        scope = []
        if options.collection is not None:
            scope = list(collections_for(user).filter(name=options.collection).values_list("pk", flat=True))
            if not scope:
                raise NotFound(
                    f"{options.username} sees no collection named {options.collection!r}.", code="collection_not_found"
                )
        actor = replace(COMMAND, user_id=user.pk, name=user.username)
        found = do_search(user, options.query, actor=actor, collection_ids=scope, k=options.k)
        return {
            "results": [passage.as_dict() for passage in found.passages],
            "coverage": found.coverage.as_dict(),
        }

    def show(self, result: dict[str, Any]) -> None:
        for number, row in enumerate(result["results"], start=1):
            self.stdout.write(f"{number}. {row['title']}, page {row['page']}\n   {' '.join(row['text'].split())[:200]}")
        coverage = result["coverage"]
        self.stdout.write(f"Searched {coverage['searched']} of {coverage['documents']} documents.")
