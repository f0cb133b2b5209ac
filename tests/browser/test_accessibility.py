"""axe-core finds nothing on any page, wide and narrow; no page scrolls sideways."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser_people import Visit, ask
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page) -> list[str]:
    """What axe-core finds, one line each."""
    page.evaluate(AXE)
    found = page.evaluate("(tags) => axe.run(document, {runOnly: tags})", TAGS)
    return [
        f"{page.url} {rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def check(page: Page) -> None:
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{page.url} scrolls sideways"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_every_page_is_accessible(visit: Visit, width: int, scheme: str) -> None:
    page = visit(None, width=width, color_scheme=scheme).page
    page.goto("/sign-in")
    check(page)

    alice = visit("alice", width=width, color_scheme=scheme)
    page = alice.page
    check(page)
    ask(page)
    check(page)
    page.locator("#thread a.cite").first.click()
    page.locator("#source mark").first.wait_for()
    check(page)
    document = str(page.get_by_role("link", name="Open full document").get_attribute("href"))
    page.goto(str(page.locator("#thread a.cite").first.get_attribute("href")))
    check(page)
    for address in (document, "/library", "/library?q=nothing-has-this-name", "/conversations", "/help/shortcuts"):
        page.goto(address)
        check(page)
    for address in ("/sessions", "/second-factor", "/tokens"):
        page.goto(address)
        check(page)
    page.goto("/second-factor")
    page.get_by_role("button", name="Set up an authenticator app").click()
    page.get_by_label("Code that the app shows now").wait_for()
    check(page)
    page.goto("/library")
    page.goto(str(page.locator(".side-nav a[href^='/library/']").first.get_attribute("href")))
    check(page)
    alice.assert_quiet()
    page.goto("/no-such-page")
    check(page)

    cora = visit("cora", width=width, color_scheme=scheme)
    cora.page.goto("/audit")
    check(cora.page)
    cora.page.locator("#events a.row-title").first.click()
    cora.page.locator("#event .event-title").wait_for()
    check(cora.page)
    cora.page.goto("/status")
    check(cora.page)
    cora.assert_quiet()
