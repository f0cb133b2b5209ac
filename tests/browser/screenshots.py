"""Takes the screenshots of docs/screenshots from a running appliance with the sample documents.

    python tests/browser/screenshots.py URL PASSWORDS.json [DIRECTORY]

PASSWORDS.json maps alice, cora, root and mary (a manager of Contracts) to their
passwords. Each page at 1440 x 900 and 390 x 844, light and dark.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen.canvas import Canvas

sys.path.insert(0, str(Path(__file__).resolve().parent))
from browser_people import QUESTION, ask, chromium, sign_in

EARLIER = (
    "What is the ceiling on monthly service credits in the Halvern facilities contract?",
    "How long are personnel files kept?",
    "Who must be told before lone working?",
)
TABLE = (
    "Item,Place,Number,Checked by\nFreezer,Ground floor,4,M. Okafor\nScale,First floor,12,L. Brandt\n"
    "Key cabinet,Ground floor,2,M. Okafor\nDefibrillator,First floor,3,\n"
)
SIZES = ((1440, 900), (390, 844))
SCHEMES = ("light", "dark")


def main(url: str, passwords: dict[str, str], directory: Path) -> None:
    """Writes NAME-WIDTH-SCHEME.png for every page into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium())
        visit(browser, url, None, "", directory, {"login": lambda page: open_at(page, f"{url}/sign-in")})
        conversation = ask_once(browser, url, passwords["alice"])

        def chat(page: Page) -> None:
            open_at(page, conversation)
            page.locator("#thread .msg a.cite").first.click()
            page.locator("#source mark").first.wait_for()

        def collection(page: Page) -> None:
            open_at(page, f"{url}/library")
            page.goto(page.locator(".side-nav a[href^='/library/']").first.get_attribute("href", timeout=5000) or "")

        def document(page: Page) -> None:
            chat(page)
            page.get_by_role("link", name="Open full document").click()
            page.wait_for_selector(".viewer .sheet[data-drawn]")

        def table(page: Page) -> None:
            collection(page)
            page.goto(f"{page.url}?q=inventory")
            page.locator("#documents a.row-title").first.click()
            page.locator(".page-table").first.wait_for()

        def bulk(page: Page) -> None:
            page.goto(upload)

        upload = upload_once(browser, url, passwords["alice"])
        alice = {"chat": chat, "library": collection, "document": document, "table": table, "upload": bulk}
        visit(browser, url, "alice", passwords["alice"], directory, alice)

        def audit(page: Page) -> None:
            open_at(page, f"{url}/audit?type=disclosure")
            page.locator("#events a.row-title").first.click()
            page.locator("#event .event-title").wait_for()

        visit(browser, url, "cora", passwords["cora"], directory, {"audit": audit})
        visit(browser, url, "mary", passwords["mary"], directory, {"retrieval": retrieval})
        status = {"status": lambda page: open_at(page, f"{url}/status")}
        visit(browser, url, "root", passwords["root"], directory, status)
        browser.close()


def retrieval(page: Page) -> None:
    """The page on which a manager tries out search, with a question asked."""
    page.goto("/library")
    page.locator(".side-nav a[href^='/library/']").first.click()
    page.get_by_role("link", name="Try out its search").click()
    page.locator("input[name=q], textarea[name=q]").first.fill(QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_load_state("load")


def open_at(page: Page, address: str) -> None:
    """Opens an address and waits until the page is at rest."""
    page.goto(address, wait_until="load")


def ask_once(browser: Browser, url: str, password: str) -> str:
    """Asks the question as alice. Returns the address of the conversation."""
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, url, "alice", password)
    for question in EARLIER:
        ask(page, question)
        page.goto(url)
    address = ask(page)
    context.close()
    return address


def upload_once(browser: Browser, url: str, password: str) -> str:
    """Sends a folder of files, some of which cannot be read, as alice. Returns the address of the upload."""
    context = browser.new_context(base_url=url)
    page = context.new_page()
    sign_in(page, url, "alice", password)
    page.goto("/library")
    page.get_by_role("link", name="Contracts").first.click()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "Estates"
        for place in ("Ground floor", "First floor"):
            (root / place).mkdir(parents=True)
            for room in range(1, 5):
                (root / place / f"Room {room}.txt").write_text(f"{place}, room {room}: the porter has its key.")
        (root / "inventory.csv").write_text(TABLE)
        (root / "locked.pdf").write_bytes(locked_pdf())
        (root / "torn scan.pdf").write_bytes(b"%PDF-1.7\nthen nothing")
        (root / "setup.exe").write_bytes(b"MZ")
        (root / "empty.txt").touch()
        page.set_input_files("#folder", root)
        page.get_by_text("13 files: 13 dealt with").wait_for(timeout=90_000)
    address = page.url
    context.close()
    return address


def locked_pdf() -> bytes:
    """A page that needs a password."""
    plain, locked = io.BytesIO(), io.BytesIO()
    canvas = Canvas(plain)
    canvas.drawString(72, 770, "Key register")
    canvas.save()
    writer = PdfWriter(clone_from=PdfReader(plain))
    writer.encrypt("herons", algorithm="AES-256")
    writer.write(locked)
    return locked.getvalue()


def visit(
    browser: Browser,
    url: str,
    username: str | None,
    password: str,
    directory: Path,
    pages: dict[str, Callable[[Page], None]],
) -> None:
    """Every page as one person, at every size and scheme."""
    for width, height in SIZES:
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                has_touch=width < 900,
                base_url=url,
            )
            page = context.new_page()
            if username:
                sign_in(page, url, username, password)
            for name, reach in pages.items():
                reach(page)
                page.wait_for_timeout(200)
                page.screenshot(path=directory / f"{name}-{width}-{scheme}.png")
            context.close()


if __name__ == "__main__":
    target = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("docs/screenshots")
    main(sys.argv[1].rstrip("/"), json.loads(Path(sys.argv[2]).read_text()), target)
