"""A scan: its passage is boxed where its words are in the picture, or marked in the text only; never elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from appliance_desk import Desk, finished, upload
from PIL import Image, ImageDraw, ImageFont

from appliance.documents import layout
from appliance.documents.models import VersionPage

SIZE = (1654, 1200)  # A4's width at 200 dots per inch
LINES = (
    "The porter keeps the blue ledger in room seven.",
    "Nobody takes the scale out of the cellar before noon.",
    "The freezer shall be defrosted every ninety days.",
    "Visitors sign the green book at the northern gate.",
)
WANTED = 2
_RECT = re.compile(r'<rect class="hit" x="([\d.-]+)" y="([\d.-]+)" width="([\d.-]+)" height="([\d.-]+)"')


def _top(at: int) -> int:
    return 150 + 220 * at


def _scan() -> bytes:
    picture = Image.new("L", SIZE, 255)
    draw = ImageDraw.Draw(picture)
    for at, line in enumerate(LINES):
        draw.text((120, _top(at)), line, font=ImageFont.load_default(size=46), fill=0)
    out = io.BytesIO()
    picture.save(out, "PNG", dpi=(200, 200))
    return out.getvalue()


@pytest.fixture(scope="module")
def reader(desk: Desk) -> Iterator[httpx.Client]:
    with closing(desk.room.browser_session("alice")) as client:
        yield client


@pytest.fixture(scope="module")
def scan(alice: httpx.Client, contracts: str) -> tuple[str, str]:
    """The scanned document and the text that was read from it."""
    sent = upload(alice, contracts, "gate-book-scan.png", _scan(), "image/png").json()["id"]
    found = finished(alice, sent)
    if found["error"] and found["error"]["code"] == "ocr_unavailable":
        pytest.skip("tesseract is not installed")
    assert found["status"] == "ready", found
    return sent, alice.get(f"/api/v1/documents/{sent}/versions/1/text").json()["text"]


def _opened(reader: httpx.Client, document: str, start: int, end: int) -> tuple[list[tuple[float, ...]], str]:
    """The boxes of the passage (left, top, right, bottom) in fractions of the picture, and the page."""
    page = reader.get(f"/documents/{document}/v/1", params={"page": 1, "start": start, "end": end}).text
    sheet = page[page.index('<div class="sheet"') :]
    sides = re.search(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)">', sheet)
    assert sides
    width, height = (float(side) for side in sides.groups())
    boxes = [tuple(float(side) for side in found) for found in _RECT.findall(sheet)]
    return [(x / width, y / height, (x + w) / width, (y + h) / height) for x, y, w, h in boxes], page


def test_the_box_lies_over_the_sentence_s_own_line(reader: httpx.Client, scan: tuple[str, str]) -> None:
    document, text = scan
    for at, line in enumerate(LINES):
        start = text.index(line)
        ((left, top, right, bottom),), page = _opened(reader, document, start, start + len(line))
        drawn = ImageDraw.Draw(Image.new("L", SIZE)).textbbox(
            (120, _top(at)), line, font=ImageFont.load_default(size=46)
        )
        wanted = [side / SIZE[index % 2] for index, side in enumerate(drawn)]
        assert [left, top, right, bottom] == pytest.approx(wanted, abs=0.012)
        assert f"<mark>{line}</mark>" in page


def test_words_without_a_certain_place_have_no_box(reader: httpx.Client, scan: tuple[str, str]) -> None:
    document, text = scan
    start = text.index(LINES[WANTED])
    row = VersionPage.objects.get(version__document=document)
    words = layout.unpack(bytes(row.words))
    ninety = text.index("ninety")
    broken = {
        "one word has no box": [word for word in words if word.start != ninety],
        "one word's box is empty": [
            layout.WordBox(word.start, word.end, word.left, word.top, word.left, word.top)
            if word.start == ninety
            else word
            for word in words
        ],
        "no word has a box": [],
    }
    kept = bytes(row.words)
    try:
        for cause, left in broken.items():
            VersionPage.objects.filter(pk=row.pk).update(words=layout.pack(left))
            boxes, page = _opened(reader, document, start, start + len(LINES[WANTED]))
            assert boxes == [], cause
            assert "has no certain place" in page and f"<mark>{LINES[WANTED]}</mark>" in page, cause
            others, _ = _opened(reader, document, text.index(LINES[0]), text.index(LINES[0]) + len(LINES[0]))
            assert len(others) == bool(left), cause
    finally:
        VersionPage.objects.filter(pk=row.pk).update(words=kept)
    assert _opened(reader, document, start, start + len(LINES[WANTED]))[0]
