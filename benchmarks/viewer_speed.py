"""How fast a citation opens beside its answer in a long PDF, as a reader sees it: from the click to the drawn page.

    python -m benchmarks.viewer_speed [--pages 500] [--opens 20]

A PDF of that many pages is made and read by a running set of our own. Each citation, of another page of it, is opened
in Chromium on a page that was loaded anew. It is open when its page is drawn and the box stands over the words.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

from benchmarks.room import Room, print_result, running_room, say

_LINES = 10
_OPENED = """() => new Promise((resolve) => {
  const link = document.querySelector("#thread a.cite");
  const began = performance.now();
  const look = () => document.querySelector("#source .sheet[data-drawn] .hit")
    ? resolve(performance.now() - began) : requestAnimationFrame(look);
  link.click();
  look();
})"""


def _name(number: int) -> str:
    first, second, third = "BDFGKLMNPRSTVZ", "aeiou", "lmnrstvk"
    word = (
        first[number % 14] + second[number % 5] + third[number % 8] + second[number // 8 % 5] + third[number // 40 % 8]
    )
    return f"{word}{'dale' if number % 2 else 'wick'}{number}"


def _write(path: Path, pages: int) -> None:
    """Pages of ten lines, which keeps their embedding short; on each one sentence that no other has."""
    canvas = Canvas(str(path), pagesize=(595, 842))
    for number in range(1, pages + 1):
        canvas.setFont("Times-Roman", 11)
        for line in range(_LINES):
            time = f"{line % 12 + 7}:{number % 60:02}"
            words = f"Entry {number}-{line}: stock was counted by the keeper of row {line} and signed at {time}."
            if line == _LINES // 2:
                words = f"The {_name(number)} freezer shall be defrosted every {number + 20} days by the estates team."
            canvas.drawString(60, 760 - 64 * line, words)
        canvas.showPage()
    canvas.save()


def measure(room: Room, pages: int, opens: int) -> dict[str, Any]:
    """Milliseconds from click to drawn page: median, worst, and all of them."""
    password = room.manage("seed_demo")["passwords"]["alice"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "freezers.pdf"
        _write(path, pages)
        read = room.manage("ingest", str(path), "--collection", "Contracts", "--wait")
    say(f"{pages} pages: {read['documents'][0]['status']}")
    url = room.stack.url
    opened_ms: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{url}/sign-in")
        page.fill("#username", "alice")
        page.fill("#password", password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{url}/")
        for at in range(opens):
            opened_ms.append(_open(page, url, 1 + at * (pages - 1) // max(opens - 1, 1)))
            say(f"{at + 1}: {opened_ms[-1]:.0f} ms")
        browser.close()
    return {
        "pages": pages,
        "opens": opens,
        "median_ms": round(statistics.median(opened_ms)),
        "worst_ms": round(max(opened_ms)),
        "all_ms": [round(each) for each in opened_ms],
    }


def _open(page: Page, url: str, number: int) -> float:
    page.goto(url)
    page.fill("#question", f"How often shall the {_name(number)} freezer be defrosted?")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/chat/*")
    page.locator("[data-finished]").wait_for(timeout=60_000)
    page.reload(wait_until="load")
    taken = float(page.evaluate(_OPENED))
    shown = page.locator("#source .pager input[name=go]").input_value()
    if shown != str(number):
        say(f"page {shown} opened, {number} was asked about")
    return taken


def main() -> None:
    """Parses the arguments, measures, prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--pages", type=int, default=500)
    parser.add_argument("--opens", type=int, default=20)
    given = parser.parse_args()
    with running_room() as room:
        print_result(measure(room, given.pages, given.opens))


if __name__ == "__main__":
    main()
