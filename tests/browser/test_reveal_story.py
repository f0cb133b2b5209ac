"""An officer asks to read a question, a content approver allows it, the officer reads, and then it is over."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from browser_people import QUESTION, Visit, ask
from playwright.sync_api import Page, expect
from test_accessibility import check

pytestmark = pytest.mark.browser

_PASSWORD = "a password of some length"
_REASON = "Complaint 2026-0331 about the cleaning advice"
#: Of the sentence that answers QUESTION.
_SAID = "twenty-four hours"

_PEOPLE = """
from appliance.accounts.actions import do_create_user
from appliance.accounts.models import Role
from appliance.ops.commands import COMMAND
do_create_user({officer!r}, {password!r}, roles=(Role.COMPLIANCE_OFFICER,), actor=COMMAND)
do_create_user({approver!r}, {password!r}, roles=(Role.CONTENT_APPROVER,), actor=COMMAND)
"""
_END = """
from django.utils import timezone
from appliance.audit.models import Reveal
Reveal.objects.filter(correlation={correlation!r}).update(expires_at=timezone.now())
"""


def check_wide_and_narrow(page: Page) -> None:
    """Accessible, and no wider than the window, on a desk and on a telephone, light and dark."""
    for width, scheme in ((390, "dark"), (1440, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")  # colours on their way
        check(page)


def test_two_people_agree_to_open_a_question(visit: Visit, room: Any) -> None:
    mark = uuid.uuid4().hex[:6]
    officer, approver = f"olga-{mark}", f"arno-{mark}"
    room.stack.manage("shell", "-c", _PEOPLE.format(officer=officer, approver=approver, password=_PASSWORD))
    room.passwords |= {officer: _PASSWORD, approver: _PASSWORD}
    ask(visit("alice").page)

    watched = visit(officer)
    desk = watched.page
    desk.goto("/audit?type=outcome")
    desk.locator("#events a.row-title").first.click()
    part = desk.locator("#event #content")
    expect(part.get_by_role("heading", name="Question and answer are hidden")).to_be_visible()
    assert QUESTION not in desk.content() and _SAID not in desk.content()
    check_wide_and_narrow(desk)
    part.get_by_text("Ask to read it").click()
    part.get_by_label("Why you must read it").fill(_REASON)
    part.get_by_label("Reference (optional)").fill("C-331")
    part.get_by_role("button", name="Send the request").click()
    desk.wait_for_url("**/audit/content/*")
    address = desk.url
    expect(desk.get_by_role("heading", name="Waiting for a second person")).to_be_visible()
    check_wide_and_narrow(desk)

    other = visit(approver)
    page = other.page
    page.get_by_role("navigation", name="Main").get_by_role("link", name=re.compile("Requests")).click()
    request = page.locator("#waiting .panel-body").filter(has_text=officer)
    expect(request).to_contain_text(_REASON)
    assert QUESTION not in page.content()
    check_wide_and_narrow(page)
    request.get_by_role("button", name="Agree").click()
    expect(page.get_by_text("The officer may read it now.")).to_be_visible()
    expect(page.locator("#decided")).to_contain_text("Open until")
    check_wide_and_narrow(page)
    other.assert_quiet()

    desk.goto("/audit/reveals")
    expect(desk.locator("#own")).to_contain_text("Open until")
    check_wide_and_narrow(desk)
    desk.locator("#own a.row-title").first.click()
    assert desk.url == address and QUESTION not in desk.content()
    desk.get_by_role("button", name="Read question and answer").press("Enter")
    expect(desk.get_by_role("heading", name=re.compile("Shown to you alone until"))).to_be_visible()
    expect(desk.locator("#content")).to_contain_text(QUESTION)
    expect(desk.locator("#content")).to_contain_text(_SAID)
    check_wide_and_narrow(desk)
    watched.assert_quiet()

    room.stack.manage("shell", "-c", _END.format(correlation=address.rsplit("/", 1)[1]))
    desk.reload()
    expect(desk.get_by_role("heading", name="The time to read this is over")).to_be_visible()
    assert QUESTION not in desk.content()
    check_wide_and_narrow(desk)
