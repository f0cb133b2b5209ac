"""A compliance officer's week, played through in the browser: an alert, its events, the sign-off."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from browser_people import Visit
from playwright.sync_api import Page, expect
from test_accessibility import check

pytestmark = pytest.mark.browser

#: The rules look at what is new; two documents are many for once.
_WATCH = """
from django.conf import settings
from appliance.audit import alerting
from appliance.audit.models import AuditEvent, Watermark
import time
settings.ALERT_BULK_DOCUMENTS = 2
newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True)[0]
while Watermark.objects.get(name="alerts").event < newest:
    alerting.do_watch()
    time.sleep(0.1)
"""
#: What else is open is acknowledged, all but that alice reads much; reviews under way are signed.
_TIDY = """
import uuid
from appliance.audit import alerts, weekly
from appliance.audit.models import Alert, Review
from appliance.audit.record import Actor
who = uuid.uuid4()
for alert in Alert.objects.filter(acknowledged_at=None).exclude(actor_name={keep!r}, rule="bulk_reading"):
    alerts.do_acknowledge(alert.pk, note="Looked at.", officer=who, actor=Actor(name="test"))
if not {keep!r}:
    for review in Review.objects.filter(signed_at=None):
        weekly.do_sign(review.pk, "An earlier one.", officer=who, actor=Actor(name="test"))
"""


def manage(room: Any, script: str) -> None:
    room.stack.manage("shell", "-c", script)


def focused(page: Page) -> str:
    """The address of the link that the keyboard is on."""
    return str(page.evaluate("document.activeElement.getAttribute('href') || document.activeElement.className"))


def test_coras_week(visit: Visit, room: Any) -> None:
    manage(room, _TIDY.format(keep=""))
    alice = visit("alice").page
    alice.goto("/library")
    collections = alice.locator(".side-nav a[href^='/library/']")
    alice.goto(str(collections.filter(has_text="Contracts").first.get_attribute("href")))
    read = [link.get_attribute("href") for link in alice.locator("#documents a.row-title").all()[:2]]
    assert len(read) == 2
    for address in read:
        alice.goto(str(address))
    manage(room, _WATCH + _TIDY.format(keep="alice"))

    cora = visit("cora")
    page = cora.page
    page.get_by_role("link", name="Audit").click()
    page.get_by_label("Audit", exact=True).get_by_role("link", name="Alerts").click()
    alert = page.locator("article", has_text="Many documents in a short time: Alice")
    expect(alert).to_have_count(1)
    alert.get_by_role("link", name="What they did then").click()
    chips = page.locator(".chip--x")
    expect(chips).to_contain_text(["By: Alice", "From:", "Until:"])

    page.locator("summary", has_text="Event").click()
    page.locator(".filters").get_by_role("link", name="Page or file opened").click()
    expect(chips).to_have_count(4)
    rows = page.locator("#events [data-row]")
    page.keyboard.press("j")
    assert focused(page) == rows.nth(0).get_attribute("href")
    page.keyboard.press("ArrowDown")
    assert focused(page) == rows.nth(1).get_attribute("href")
    page.keyboard.press("Enter")
    page.locator("#event .event-title").wait_for()
    expect(page.locator("#event .event-title")).to_be_focused()
    expect(page.locator("#event .event-title")).to_contain_text("Page or file opened: Alice")
    page.get_by_role("button", name="Copy number").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.keyboard.press("Escape")
    assert focused(page) == rows.nth(1).get_attribute("href")
    page.keyboard.press("k")
    assert focused(page) == rows.nth(0).get_attribute("href")

    name = f"Alice reads {uuid.uuid4().hex[:6]}"
    page.locator("summary", has_text="Saved filters").click()
    page.get_by_role("button", name="Save this filter").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("#own").get_by_role("link", name=name).click()
    expect(chips).to_have_count(4)
    page.get_by_role("link", name="Remove the filter: By, Alice").click()
    expect(chips).to_have_count(3)

    page.goto("/audit/reviews")
    page.get_by_role("button", name="Begin a review").click()
    page.get_by_label("What you looked at").fill("Alice prepared a hearing. Nothing else stood out.")
    with page.expect_response("**/sign") as refused:
        page.get_by_role("button", name="Sign off").click()
    assert refused.value.status == 409
    expect(page.get_by_role("alert")).to_contain_text("still open")
    expect(page.get_by_label("What you looked at")).to_have_value("Alice prepared a hearing. Nothing else stood out.")
    page.get_by_role("button", name="Keep for now").click()
    page.wait_for_url("**?said=kept")
    review = page.url.split("?")[0]

    page.goto("/audit/alerts")
    alert.get_by_label("Note").fill("She prepares the Halvern hearing.")
    alert.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("status").first).to_contain_text("acknowledged")
    expect(alert).to_have_count(0)
    page.goto(review)
    page.get_by_role("button", name="Sign off").click()
    expect(page.get_by_text("The review is signed off.")).to_be_visible()
    expect(page.get_by_role("button", name="Sign off")).to_have_count(0)
    expect(page.locator(".said-text")).to_contain_text("Alice prepared a hearing.")
    expect(page.locator("aside")).to_contain_text("Checkpoint")
    assert [text for text in cora.complaints if "409" not in text] == [] and cora.elsewhere == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_pages_of_the_audit_are_accessible(visit: Visit, width: int, scheme: str) -> None:
    cora = visit("cora", width=width, color_scheme=scheme)
    page = cora.page
    page.goto("/audit?type=sign_in&from=2020-01-01")
    check(page)
    page.locator("summary", has_text="Time and more").click()
    check(page)
    page.locator("#events a.row-title").first.click()
    page.locator("#event .event-title").wait_for()
    check(page)
    for address in ("/audit?action=none.such", "/audit/alerts", "/audit/alerts?state=acknowledged", "/audit/reviews"):
        page.goto(address)
        check(page)
    begin = page.get_by_role("button", name="Begin a review").or_(page.get_by_role("link", name="Go on with"))
    begin.click()
    check(page)
    for address in ("/audit/charts", "/audit/filters", "/audit/seal", "/audit/seal/checkpoint", "/status"):
        page.goto(address)
        check(page)
    cora.assert_quiet()
    page.goto("/audit?type=none&preson=a-name-that-has-no-place-to-break-anywhere-in-all-of-its-long-length")
    check(page)
