"""The pages for people and groups: accessible, narrow and wide, light and dark; found by typing; used by keyboard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser_people import Visit
from playwright.sync_api import expect
from test_accessibility import check

pytestmark = pytest.mark.browser

#: Where to leave pictures of the pages, for a person to look at.
PICTURES = os.environ.get("READING_ROOM_PICTURES", "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_pages_are_accessible(visit: Visit, width: int, scheme: str) -> None:
    root = visit("root", width=width, color_scheme=scheme)
    page = root.page

    def look(name: str) -> None:
        check(page)
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"{name}-{width}-{scheme}.png", full_page=True)

    page.goto("/people")
    look("people")
    page.goto("/people?q=nobody-has-this-name")
    look("people-none")
    page.goto("/people")
    page.get_by_role("link", name="alice").first.click()
    look("person")
    page.get_by_role("link", name="legal").click()
    look("group")
    page.goto("/groups")
    look("groups")
    page.goto("/groups?q=no-group-has-this-name")
    check(page)
    root.assert_quiet()


def test_people_are_found_while_a_name_is_typed(visit: Visit) -> None:
    root = visit("root")
    page = root.page
    page.goto("/people")
    page.keyboard.press("/")
    page.keyboard.type("char")
    expect(page.locator("#people tbody tr")).to_have_count(1)
    expect(page.get_by_role("link", name="charlie")).to_be_visible()
    assert page.url.endswith("?q=char")
    root.assert_quiet()
