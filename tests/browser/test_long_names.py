"""Names as long as they may be, without a place to break: on a telephone no page scrolls sideways."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from browser_people import Visit, ask
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

_PASSWORD = "a password of some length"

_MADE = """
import json
from django.core.management import call_command
from io import StringIO
from appliance.accounts.actions import do_create_group, do_create_user, do_issue_token
from appliance.accounts.models import Role
from appliance.documents.actions import do_create_collection, do_grant
from appliance.ops.commands import COMMAND
given = json.loads({given!r})
roles = (Role.STAFF, Role.COLLECTION_MANAGER)
keeper = do_create_user(given["keeper"], given["password"], roles=roles, actor=COMMAND)
keeper.display_name = given["shown"]
keeper.save()
do_create_user(given["root"], given["password"], roles=(Role.ADMINISTRATOR,), actor=COMMAND)
group = do_create_group(given["group"], members=(keeper,), actor=COMMAND)
collection = do_create_collection(given["collection"], description="d" * 200, acting_user=keeper, actor=COMMAND)
do_grant(collection, group=group, acting_user=keeper, actor=COMMAND)
call_command("ingest", given["file"], collection=collection.name, wait=True, stdout=StringIO())
for name in ("t" * 100, "short"):
    do_issue_token(keeper.username, name=name, days=1, actor=COMMAND)
print(json.dumps({{"collection": str(collection.pk), "person": str(keeper.pk), "group": str(group.pk)}}))
"""


def sticks_out(page: Page) -> list[str]:
    """What reaches beyond the window, innermost, and is not inside something that scrolls by itself."""
    found: list[str] = page.evaluate(
        """() => {
          if (document.documentElement.scrollWidth <= window.innerWidth) return [];
          const kept = (node) => node && (getComputedStyle(node).overflowX !== 'visible' || kept(node.parentElement));
          return [...document.querySelectorAll('body *')]
            .filter((node) => node.getBoundingClientRect().right > window.innerWidth + 1 && !kept(node.parentElement))
            .map((node) => `${node.tagName}.${node.className} ${node.textContent.trim().slice(0, 30)}`);
        }"""
    )
    return found


def test_no_page_scrolls_sideways(room: Any, visit: Visit, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    path = tmp_path / f"{'f' * 180}-{mark}.txt"
    path.write_text(f"The {'w' * 300} of the ward is kept in the long drawer beneath the window. " * 3)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o055)
    given = {
        "password": _PASSWORD,
        "keeper": f"{mark}{'k' * 110}",
        "shown": "s" * 150,
        "root": f"{mark}{'r' * 110}",
        "group": f"{mark}{'g' * 110}",
        "collection": f"{mark}{'c' * 110}",
        "file": str(path),
    }
    done = room.stack.manage("shell", "-c", _MADE.format(given=json.dumps(given)))
    made = json.loads(done.stdout.splitlines()[-1])
    for name in ("keeper", "root"):
        room.passwords[given[name]] = _PASSWORD

    page = visit(given["keeper"], width=390).page
    out: dict[str, list[str]] = {}

    def look(address: str | None = None) -> None:
        if address is not None:
            answered = page.goto(address)
            assert answered is not None and answered.ok, address
        if found := sticks_out(page):
            out[page.url] = found

    look()
    ask(page, f"What is the {'w' * 300} kept in?")
    look()
    collection = f"/library/{made['collection']}"
    for address in ("/conversations", "/library", collection, "/tokens", "/sessions", "/second-factor", "/access"):
        look(address)
    look(collection)
    document = str(page.locator("#documents a.row-title").first.get_attribute("href"))
    manage = f"/manage/collections/{made['collection']}/access"
    plain = document.split("/v/")[0].split("?")[0]
    for address in (document, f"{plain}/v/1/log", manage, f"{plain}/access", "/approvals", "/break-glass"):
        look(address)
    page = visit(given["root"], width=390).page
    for address in ("/people", f"/people/{made['person']}", "/groups", f"/groups/{made['group']}", "/status"):
        look(address)
    assert not out, json.dumps(out, indent=1)
