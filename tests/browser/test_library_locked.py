"""Files that could not be read: opened with a password, read again one by one or all, explained by their log."""

from __future__ import annotations

import io
import uuid
from pathlib import Path

import pytest
from browser_people import Visit
from playwright.sync_api import Page, expect
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen.canvas import Canvas
from test_accessibility import check

pytestmark = pytest.mark.browser

PASSWORD = "seven grey herons"


def _locked(path: Path, words: str) -> Path:
    plain = io.BytesIO()
    canvas = Canvas(plain)
    canvas.drawString(72, 770, words)
    canvas.save()
    writer = PdfWriter(clone_from=PdfReader(plain))
    writer.encrypt(PASSWORD, algorithm="AES-256")
    writer.write(path)
    return path


def _add(page: Page, *paths: Path) -> None:
    page.goto("/library")
    page.get_by_role("link", name="Contracts").first.click()
    page.set_input_files("#files", paths)
    for path in paths:
        row = page.locator("#documents tr", has_text=path.stem).first
        expect(row).to_have_attribute("data-status", "failed", timeout=60_000)


@pytest.mark.parametrize("width", [1440, 390])
def test_a_locked_file_is_opened_with_its_password_from_its_row(visit: Visit, tmp_path: Path, width: int) -> None:
    alice = visit("alice", width=width)
    page = alice.page
    mark = uuid.uuid4().hex[:8]
    _add(page, _locked(tmp_path / f"vault-{mark}.pdf", f"The vault {mark} holds 17 ledgers."))
    row = page.locator("#documents tr", has_text=mark).first
    expect(row).to_contain_text("cannot be opened without a password")
    check(page)
    row.get_by_label("Password of the file").fill("not this one")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_contain_text("the password given does not open this", timeout=60_000)
    check(page)
    field = page.get_by_label("Password of the file").first
    field.fill(PASSWORD)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".paper")).to_contain_text(f"The vault {mark} holds 17 ledgers.", timeout=60_000)
    log = page.get_by_label("Log of version 1")
    log.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#log .log")).to_contain_text("retried")
    expect(page.locator("#log .log")).to_contain_text("Ready")
    check(page)
    page.keyboard.press("Escape")
    expect(page.locator("#log")).to_be_hidden()
    assert PASSWORD not in page.content()
    expect(page.locator(".reader")).to_contain_text("cannot be shown as it looks")  # the password is gone
    assert alice.elsewhere == []


def test_all_that_failed_is_read_again_from_the_list(visit: Visit, tmp_path: Path) -> None:
    page = visit("alice").page
    mark = uuid.uuid4().hex[:8]
    torn = [tmp_path / f"torn-{mark}-{n}.pdf" for n in range(2)]
    for path in torn:
        path.write_bytes(b"%PDF-1.7\nthen nothing " + path.name.encode())
    _add(page, *torn)
    expect(page.get_by_role("button", name="Read all that failed again")).to_have_count(0)
    page.get_by_role("link", name="Needs attention").click()
    check(page)
    page.get_by_role("button", name="Read all that failed again").press("Enter")
    page.wait_for_url("**?tab=adding")
    page.get_by_role("link", name="Needs attention").click()
    row = page.locator("#documents tr", has_text=torn[0].stem).first
    expect(row).to_have_attribute("data-status", "failed", timeout=60_000)
    row.get_by_role("link").first.click()
    page.get_by_label("Log of version 1").click()
    expect(page.locator("#log .log strong").get_by_text("retried")).to_have_count(1)


def test_only_a_manager_is_shown_the_way_to_the_search_s_page(visit: Visit) -> None:
    page = visit("alice").page
    page.goto("/library")
    page.get_by_role("link", name="Contracts").first.click()
    page.locator(".drop").wait_for()
    assert page.get_by_role("link", name="Try out its search").count() == 0
