"""Four nights in the life of an appliance, played through in the browser, and what the audit tells of each."""

from __future__ import annotations

import json
import re
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser_people import QUESTION, Room, Visit
from playwright.sync_api import Page, expect
from test_accessibility import check

pytestmark = pytest.mark.browser

_PASSWORD = "a password of some length"
#: Of the sentence that answers QUESTION.
_ANSWER = "twenty-four hours"

_PEOPLE = """
import json
from django.core.management import call_command
from io import StringIO
from appliance.accounts.actions import do_create_group, do_create_user
from appliance.accounts.models import Role, User
from appliance.documents.actions import do_create_collection, do_grant
from appliance.documents.models import Collection
from appliance.ops.commands import COMMAND
given = json.loads({given!r})
mark = given["mark"]
people = {{}}
for name in ("wren", "ada", "ben", "nell", "leo", "dana"):
    roles = {{"wren": (Role.STAFF, Role.COLLECTION_MANAGER), "dana": (Role.CONTENT_APPROVER,)}}
    people[name] = do_create_user(
        f"{{name}}-{{mark}}", given["password"], roles=roles.get(name, (Role.STAFF,)), actor=COMMAND
    )
wren = people["wren"]
firm = do_create_group(f"Firm {{mark}}", members=tuple(people[n] for n in ("ada", "ben", "nell")), actor=COMMAND)
made = {{}}
for key in ("deal", "ward", "vault"):
    collection = do_create_collection(f"{{key.capitalize()}} {{mark}}", acting_user=wren, actor=COMMAND)
    call_command("ingest", *given[key], collection=collection.name, wait=True, stdout=StringIO())
    made[key] = str(collection.pk)
for key in ("deal", "ward"):
    do_grant(Collection.objects.get(pk=made[key]), group=firm, acting_user=wren, actor=COMMAND)
do_grant(Collection.objects.get(name="Contracts"), user=people["leo"], acting_user=None, actor=COMMAND)
print(json.dumps(made))
"""


class Story:
    """The people, the collections, and what they are called."""

    def __init__(self, room: Any, folder: Path) -> None:
        self.room, self.mark = room, uuid.uuid4().hex[:6]
        files = {
            "deal": {
                "offer.txt": "The Halvern offer for Tessaly is forty million, payable in two halves in May and in June."
            },
            "ward": {
                "celebrity.txt": "The famous patient rests in the quiet room at the end of the ward, without visitors.",
                "rota.txt": "The rota of the ward for the month of May names two nurses for each night in it.",
            },
            "vault": {
                "allergies.txt": "The patient in bay four is allergic to penicillin, as the harvest of 1987 had shown."
            },
        }
        given: dict[str, Any] = {"mark": self.mark, "password": _PASSWORD}
        for key, contents in files.items():
            given[key] = []
            for name, text in contents.items():
                path = folder / name
                path.write_text(text)
                given[key].append(str(path))
        done = room.stack.manage("shell", "-c", _PEOPLE.format(given=json.dumps(given)))
        self.collections: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        for name in ("wren", "ada", "ben", "nell", "leo", "dana"):
            room.passwords[self.account(name)] = _PASSWORD

    def account(self, name: str) -> str:
        return f"{name}-{self.mark}"

    def name(self, key: str) -> str:
        """What a collection is called."""
        return f"{key.capitalize()} {self.mark}"

    def disable(self, name: str) -> None:
        """Somebody leaves."""
        change = f"from appliance.accounts.models import User\nUser.objects.filter(username={self.account(name)!r})"
        self.room.stack.manage("shell", "-c", f"{change}.update(is_active=False)")


@pytest.fixture(scope="module")
def story(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    for each in (folder, folder.parent):
        each.chmod(0o755)
    yield Story(room, folder)


def titles(page: Page, collection: str) -> list[str]:
    """The documents listed in a collection; none where there is no such page."""
    answered = page.goto(f"/library/{collection}")
    assert answered is not None
    return page.locator("#documents .row-title").all_inner_texts() if answered.ok else []


def told(page: Page, **search: str) -> str:
    """What the newest matching event says on the page of the audit."""
    page.goto("/audit?" + "&".join(f"{name}={value}" for name, value in search.items()))
    page.locator("#events a.row-title").first.click()
    page.locator("#event .event-title").wait_for()
    return page.locator("#event").inner_text()


def test_two_firms_and_a_wall_between_them(visit: Visit, story: Story) -> None:
    ada = visit(story.account("ada")).page
    assert titles(ada, story.collections["deal"]) == ["offer"]
    cora = visit("cora")
    page = cora.page
    page.get_by_role("link", name="Access").click()
    page.get_by_role("link", name="Walls").first.click()
    page.get_by_label("Name", exact=True).fill(f"Halvern and Tessaly {story.mark}")
    page.get_by_label("Reason").fill("Two sides of one deal")
    page.get_by_label("People kept out").fill(story.account("ada"))
    page.get_by_label(story.name("deal")).check()
    check(page)
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator("#loses")).to_contain_text(story.account("ada"))
    expect(page.locator("#gains")).to_contain_text("Nobody gains anything.")
    check(page)
    page.get_by_role("button", name="Save it").click()
    expect(page.get_by_role("heading", name=f"Wall Halvern and Tessaly {story.mark}")).to_be_visible()
    assert titles(ada, story.collections["deal"]) == []  # also asked for by address, and refused
    assert titles(visit(story.account("ben")).page, story.collections["deal"]) == ["offer"]
    page.reload()
    expect(page.locator("#history")).to_contain_text("wall.refused")
    expect(page.locator("#reach")).to_contain_text("1 time")
    check(page)

    page.get_by_role("button", name="Lift the wall").click()
    page.get_by_role("button", name="Ask for it").click()
    expect(page.locator("main")).to_contain_text("Waits for a second person")
    assert titles(ada, story.collections["deal"]) == []
    dana = visit(story.account("dana")).page
    dana.goto("/approvals")
    check(dana)
    waiting = dana.locator("#to-decide form", has_text=story.mark)
    waiting.get_by_role("button", name="Approve").click()
    expect(dana.locator("#to-decide")).not_to_contain_text(story.mark)
    assert titles(ada, story.collections["deal"]) == ["offer"]
    said = told(page, person=story.account("ada"), type="refusal")
    assert "wall.refused" in said
    cora.assert_quiet()


def test_a_celebrity_patient_is_seen_by_named_people_only(visit: Visit, story: Story) -> None:
    wren = visit(story.account("wren"))
    page = wren.page
    page.goto(f"/library/{story.collections['ward']}")
    page.get_by_role("link", name="celebrity").first.click()
    document = re.sub(r"/v/\d+.*", "", page.url)
    page.goto(f"{document}/access")
    page.get_by_label("What it does").select_option("deny")
    page.get_by_label("Name of the account or group").fill(story.account("ben"))
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator("#loses")).to_contain_text("celebrity")
    page.get_by_role("button", name="Save it").click()
    expect(page.locator("#rules")).to_contain_text("Kept out")
    check(page)
    assert titles(visit(story.account("ben")).page, story.collections["ward"]) == ["rota"]
    assert sorted(titles(visit(story.account("nell")).page, story.collections["ward"])) == ["celebrity", "rota"]
    page.get_by_label("Account name").fill(story.account("ben"))
    page.get_by_role("button", name="Explain").click()
    explained = page.locator("#explained")
    expect(explained).to_contain_text("a denial beats every permission")
    expect(explained).to_contain_text(f"Group Firm {story.mark} may read collection {story.name('ward')}")
    check(page)
    page.goto(f"/manage/collections/{story.collections['ward']}/access/as?person={story.account('ben')}")
    expect(page.locator("#seen li")).to_have_text(["rota"])
    check(page)
    cora = visit("cora").page
    assert "grant.add" in told(cora, person=story.account("wren"), type="grant")
    assert "access.view_as" in told(cora, person=story.account("wren"), type="access")
    wren.assert_quiet()


@contextmanager
def slowed(room: Any) -> Iterator[threading.Event]:
    """The model server runs for a moment and is stopped for a long one, in turns, so that an answer takes a while.

    Once the event is set it stays stopped, until the end.
    """
    over, still = threading.Event(), threading.Event()

    def slow() -> None:
        while not over.wait(0.004):
            room.stack.kill("inference", signal.SIGSTOP)
            over.wait(0.2)
            if still.is_set():
                over.wait()
            room.stack.kill("inference", signal.SIGCONT)

    slowing = threading.Thread(target=slow)
    slowing.start()
    try:
        yield still
    finally:
        over.set()
        slowing.join()


def test_a_leaver_s_answer_stops_and_the_outcome_says_why(visit: Visit, story: Story, room: Any) -> None:
    leo = visit(story.account("leo")).page
    with slowed(room) as still:
        leo.goto("/")
        leo.fill("#question", QUESTION)
        leo.keyboard.press("Control+Enter")
        leo.wait_for_function("() => window.streamed.some(([name]) => name === 'coverage')")
        still.set()
        story.disable("leo")
        leo.wait_for_function("() => window.streamed.some(([name]) => name === 'done')", timeout=60_000)
    assert _ANSWER not in leo.locator("main").inner_text()  # nothing was written after that
    leo.goto("/library")
    leo.wait_for_url("**/sign-in?**")
    said = told(visit("cora").page, person=story.account("leo"), type="outcome")
    assert "access_ended" in said and "Refused" in said


def test_a_break_glass_night(visit: Visit, story: Story) -> None:
    wren = visit(story.account("wren")).page
    wren.goto(f"/manage/collections/{story.collections['vault']}/access")
    wren.get_by_role("button", name="Allow it").click()
    expect(wren.locator("main")).to_contain_text("Staff may open this collection in an emergency")

    nell = visit(story.account("nell"), width=390)
    page = nell.page
    assert titles(page, story.collections["vault"]) == []
    page.get_by_text("Account menu").locator("..").click()
    page.get_by_role("link", name="Emergency access").click()
    page.get_by_label("Name of the collection").fill("Vault of another name")
    page.get_by_label("Patient or matter reference").fill("P-4711")
    page.get_by_label("Reason").fill("Unconscious in bay four")
    page.get_by_role("button", name="Open it now").click()
    expect(page.locator(".notice[role=alert]")).to_contain_text("No collection of this name can be opened this way.")
    page.get_by_label("Name of the collection").fill(story.name("vault"))
    page.get_by_role("button", name="Open it now").click()
    page.wait_for_url(f"**/library/{story.collections['vault']}")
    expect(page.locator("#emergency")).to_contain_text("30 minutes left")
    check(page)
    page.get_by_role("link", name="allergies").first.click()
    expect(page.locator("#emergency")).to_contain_text(f"Emergency access to {story.name('vault')}")

    cora = visit("cora")
    officer = cora.page
    expect(officer.locator("#nav .badge")).to_contain_text("waiting")
    officer.get_by_role("link", name="Access").click()
    check(officer)
    officer.locator("#alerts .notice", has_text=story.name("vault")).get_by_role("link", name="Look").click()
    expect(officer.locator("#meanwhile")).to_contain_text("allergies")
    expect(officer.locator("main")).to_contain_text("It can be reviewed when it has ended.")
    page.locator("#emergency").get_by_role("button", name="End now").click()
    expect(page.locator("#emergency")).to_have_count(0)
    assert titles(page, story.collections["vault"]) == []
    officer.reload()
    officer.get_by_label("Note").fill("The patient was in danger.")
    check(officer)
    officer.get_by_role("button", name="Close the review").click()
    expect(officer.locator("#closed")).to_contain_text("Justified")
    assert "break_glass" in told(officer, person=story.account("nell"), type="access")
    assert "penicillin" not in officer.content()
    cora.assert_quiet()
