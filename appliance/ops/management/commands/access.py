"""manage.py access USER DOCUMENT [--json]"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from appliance.accounts.models import User
from appliance.documents.access import as_uuid
from appliance.documents.grants.explain import do_explain
from appliance.documents.models import Document
from appliance.lib.errors import NotFound
from appliance.ops.commands import COMMAND, ApplianceCommand, Options

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Command(ApplianceCommand):
    help = "Says why a person sees a document, or does not: each rule that decides, in words. Recorded."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USER")
        parser.add_argument("document", metavar="DOCUMENT", help="its number, or its address")

    def act(self, options: Options) -> dict[str, Any]:
        user = User.objects.filter(username=options.username.strip().lower()).first()
        if user is None:
            raise NotFound(
                f"There is no account named {options.username!r}.", hint="Check the name.", code="user_not_found"
            )
        named = _ID.search(options.document)
        wanted = as_uuid(named[0] if named else options.document, code="document_not_found")
        document = Document.objects.select_related("collection", "parent").filter(pk=wanted).first()
        if document is None:
            raise NotFound("There is no document of this number.", hint="Check it.", code="document_not_found")
        explained = do_explain(user, document, actor=COMMAND)
        return {
            "user": user.username,
            "document": str(document.pk),
            "title": document.title,
            "collection": document.collection.name,
            **explained.as_dict(),
        }

    def show(self, result: dict[str, Any]) -> None:
        self.stdout.write(result["verdict"])
        for rule in result["rules"]:
            mark = {"allow": "Allowed", "deny": "Denied"}[rule["effect"]] if rule["in_force"] else "Does not count now"
            self.stdout.write(f"  {mark}: {rule['words']}")
