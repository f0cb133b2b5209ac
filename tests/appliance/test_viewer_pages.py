"""One page as a file of its own: cut, recorded, refused; and searching inside a version."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pypdf
import pytest
from appliance_desk import Desk, added, evidence_since, last_event_id, nothing_changes
from reportlab.pdfgen.canvas import Canvas

CUTTER = Path(__file__).resolve().parents[2] / "appliance/documents/viewer_cut.py"


def pdf(num_pages: int, *, word: str = "ledger") -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(595, 842))
    for number in range(1, num_pages + 1):
        canvas.drawString(72, 700, f"The {word} of store {number} is kept in room {number * 7}.")
        canvas.drawString(72, 680, f"Nobody takes it out of that room before {number} o'clock.")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def cut(content: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    descriptor = os.memfd_create("page")
    try:
        os.write(descriptor, content)
        command = [sys.executable, "-I", str(CUTTER), str(descriptor), *arguments]
        return subprocess.run(command, pass_fds=(descriptor,), capture_output=True, check=False, env={}, timeout=30)
    finally:
        os.close(descriptor)


def text_of(content: bytes) -> list[str]:
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages]


def test_the_cut_has_the_page_and_nothing_of_the_others() -> None:
    done = cut(pdf(500), "pdf", "333", "0", "0")
    assert done.returncode == 0, done.stderr
    (only,) = text_of(done.stdout)
    assert "store 333 is kept in room 2331." in only
    assert len(done.stdout) < 4000


@pytest.mark.parametrize(("page", "status"), [("0", 3), ("3", 3), ("1", 0)])
def test_a_page_that_is_not_there_is_said_so(page: str, status: int) -> None:
    assert cut(pdf(2), "pdf", page, "0", "0").returncode == status


def test_what_cannot_be_opened_is_said_so() -> None:
    locked = pypdf.PdfWriter(clone_from=pypdf.PdfReader(io.BytesIO(pdf(1))))
    locked.encrypt("secret", algorithm="RC4-128")
    out = io.BytesIO()
    locked.write(out)
    assert cut(out.getvalue(), "pdf", "1", "0", "0").returncode == 4
    assert cut(b"%PDF-1.7 and then nothing", "pdf", "1", "0", "0").returncode == 4
    assert cut(b"not a picture", "picture", "1", "0", "0").returncode == 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_a_picture_becomes_a_page_of_its_own_shape(kind: str) -> None:
    from PIL import Image

    out = io.BytesIO()
    pages = [Image.new("RGB", (600, 300), colour) for colour in ("white", "black")]
    if kind == "TIFF":
        pages[0].save(out, format=kind, save_all=True, append_images=pages[1:])
    else:
        pages[0].save(out, format=kind)
    done = cut(out.getvalue(), "picture", "1", "400", "200")
    assert done.returncode == 0, done.stderr
    box = pypdf.PdfReader(io.BytesIO(done.stdout)).pages[0].mediabox
    assert (round(box.width), round(box.height)) == (400, 200)
    assert cut(out.getvalue(), "picture", "2", "400", "200").returncode == (0 if kind == "TIFF" else 3)


def test_a_picture_of_too_many_pixels_is_not_opened() -> None:
    from PIL import Image

    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, format="PNG")
    assert cut(out.getvalue(), "picture", "1", "0", "0").returncode == 4


@pytest.fixture(scope="module")
def ledger(alice: httpx.Client, contracts: str) -> str:
    """A PDF of three pages in alice's collection."""
    return added(alice, contracts, "ledger-of-stores.pdf", pdf(3))


@pytest.fixture(scope="module")
def reader(desk: Desk) -> Iterator[httpx.Client]:
    """Alice, signed in as a browser is."""
    with closing(desk.room.browser_session("alice")) as client:
        yield client


def test_a_page_is_recorded_before_it_is_sent(reader: httpx.Client, ledger: str) -> None:
    before = last_event_id()
    sent = reader.get(f"/documents/{ledger}/v/1/pages/2")
    assert sent.status_code == 200 and sent.headers["Content-Type"] == "application/pdf"
    assert sent.headers["Cache-Control"] == "no-store"
    assert ["store 2 " in page for page in text_of(sent.content)] == [True]
    (event,) = evidence_since(before)
    assert (event["action"], event["type"]) == ("document.page", "access")
    (entity,) = event["entities"]
    assert (entity["id"], entity["version"], entity["page"]) == (ledger, 1, 2)


def test_nothing_is_sent_that_could_not_be_recorded(
    desk: Desk, reader: httpx.Client, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from appliance.accounts.models import User
    from appliance.audit.record import Actor
    from appliance.documents import viewer, viewer_find
    from appliance.lib.errors import AuditUnavailable

    def refuse(*_: object, **__: object) -> None:
        raise AuditUnavailable()

    monkeypatch.setattr(viewer, "record", refuse)
    monkeypatch.setattr(viewer_find, "record_with", refuse)
    monkeypatch.setattr(viewer, "cut", lambda *_: pytest.fail("cut without a record"))
    alice = User.objects.get(username="alice")
    actor = Actor(user_id=alice.pk, name="alice")
    with pytest.raises(AuditUnavailable):
        viewer.do_open_sheet(user=alice, actor=actor, document_id=ledger, n=1, page=1)
    with pytest.raises(AuditUnavailable):
        viewer_find.do_find(user=alice, actor=actor, document_id=ledger, n=1, query="ledger")


def test_a_search_in_the_document_is_recorded_with_its_places(reader: httpx.Client, ledger: str) -> None:
    before = last_event_id()
    sent = reader.get(f"/documents/{ledger}/v/1", params={"q": "the  LEDGER of"})
    assert sent.status_code == 200 and "1 of 3 matches" in sent.text
    find, page = evidence_since(before)
    assert (find["action"], page["action"]) == ("document.find", "document.page")
    assert [entity["page"] for entity in find["entities"]] == [1, 2, 3]
    assert find["detail"].items() >= {"chars": 13, "matches": 3}.items()
    assert "ledger" not in str(find).lower()


@pytest.mark.parametrize("address", ["/pages/0", "/pages/4", "/pages/999999999", "?page=4", "?q=ledger&m=9&page=7"])
def test_a_page_it_does_not_have_is_not_there(reader: httpx.Client, ledger: str, address: str) -> None:
    assert reader.get(f"/documents/{ledger}/v/1{address}").status_code == 404


def test_text_has_no_page_as_it_looks(reader: httpx.Client, desk: Desk, alice: httpx.Client, contracts: str) -> None:
    plain = added(alice, contracts, "plain-note.txt", b"The porter keeps the plain keys.")
    assert reader.get(f"/documents/{plain}/v/1/pages/1").status_code == 404
    shown = reader.get(f"/documents/{plain}/v/1")
    assert shown.status_code == 200 and "data-sheet" not in shown.text


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_a_stranger_is_answered_as_for_nothing(desk: Desk, alice: httpx.Client, ledger: str, who: str) -> None:
    with closing(desk.room.browser_session(who)) as stranger, nothing_changes(desk.room, alice):
        for address in ("", "?q=ledger", "/pages/1", "/download"):
            assert stranger.get(f"/documents/{ledger}/v/1{address}").status_code == 404


def words_of(text: str, *, page: int, skip: str = "") -> bytes:
    """Every word of `text` in a row across the page, but for `skip`."""
    import re

    from appliance.documents.layout import WordBox, pack

    found = list(re.finditer(r"\S+", text))
    wide = 1 / len(found)
    return pack(
        WordBox(match.start(), match.end(), at * wide, 0.1 * page, (at + 0.9) * wide, 0.1 * page + 0.02)
        for at, match in enumerate(found)
        if match.group() != skip
    )


def test_a_passage_is_boxed_only_when_all_its_words_have_a_place(reader: httpx.Client, ledger: str) -> None:
    from appliance.documents.models import DocumentVersion, VersionPage, VersionText

    version = DocumentVersion.objects.get(document_id=ledger)
    text = VersionText.objects.get(version=version).text
    start = text.index("The ledger of store 2")
    end = text.index("room 14.") + len("room 14.")

    def boxes(skip: str = "") -> tuple[int, bool]:
        VersionPage.objects.filter(version=version).delete()
        VersionPage.objects.create(
            version=version, number=2, width_pt=595, height_pt=842, words=words_of(text, page=2, skip=skip)
        )
        sent = reader.get(f"/documents/{ledger}/v/1", params={"page": 2, "start": start, "end": end}).text
        assert "<mark>" in sent
        return sent.count('rx="1.5"'), 'data-view="text"' in sent

    kept = list(VersionPage.objects.filter(version=version).values())
    try:
        assert boxes() == (1, False)
        assert boxes(skip="14.") == (0, True)
        assert boxes(skip="Nobody") == (1, False)
        VersionPage.objects.filter(version=version).delete()
        sent = reader.get(f"/documents/{ledger}/v/1", params={"page": 2, "start": start, "end": end}).text
        assert 'data-view="text"' in sent and "no certain place" in sent
    finally:
        VersionPage.objects.filter(version=version).delete()
        VersionPage.objects.bulk_create([VersionPage(**row) for row in kept])
