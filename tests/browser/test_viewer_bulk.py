"""A folder is sent from the page: every file is accounted for, live, after a reload, and after a cancelled start."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from browser_people import Visit
from playwright.sync_api import Page, expect
from test_accessibility import check

pytestmark = pytest.mark.browser


def _open_contracts(page: Page) -> None:
    page.goto("/library")
    page.get_by_role("link", name="Contracts").first.click()
    page.locator(".drop").wait_for()


def _tree(directory: Path, mark: str) -> Path:
    """Twelve notes in two folders, two of one name; an empty one; one of no known type; a torn PDF."""
    root = directory / f"bundle-{mark}"
    for folder in ("north", "south"):
        (root / folder).mkdir(parents=True)
        for n in range(6):
            (root / folder / f"note-{n}.txt").write_text(f"Note {n} of {mark} in the {folder}: the porter has key {n}.")
    (root / "empty.txt").touch()
    (root / "setup.exe").write_bytes(b"MZ")
    (root / "torn.pdf").write_bytes(b"%PDF-1.7\nthen nothing " + mark.encode())
    return root


@pytest.mark.parametrize("width", [1440, 390])
def test_every_file_of_a_folder_is_accounted_for(visit: Visit, tmp_path: Path, width: int) -> None:
    alice = visit("alice", width=width)
    page = alice.page
    _open_contracts(page)
    mark = uuid.uuid4().hex[:8]
    page.set_input_files("#folder", _tree(tmp_path, mark))
    expect(page.locator("[data-bulk-state]")).to_contain_text("15 of 15 files were sent", timeout=60_000)
    expect(page.locator("#batch-title")).to_have_text("15 files: 15 dealt with", timeout=90_000)
    assert "/library/batches/" in page.url
    page.reload()
    for state, number in (("ready", 12), ("failed", 1), ("refused", 2)):
        expect(page.locator(f'[data-state="{state}"] .count')).to_have_text(str(number))
    check(page)
    page.locator('[data-state="refused"]').click()
    expect(page.locator("#batch tbody")).to_contain_text("setup.exe is of a type that is not read here")
    expect(page.locator("#batch tbody")).to_contain_text("empty.txt is empty")
    page.locator('[data-state="ready"]').click()
    expect(page.locator("#batch tbody")).to_contain_text(f"bundle-{mark}/north/note-0.txt")
    expect(page.locator("#batch tbody")).to_contain_text(f"bundle-{mark}/south/note-0.txt")
    if width == 1440:
        page.locator("[data-log]").first.click()
        expect(page.locator("#log .log")).to_contain_text("Ready")
        check(page)
        page.get_by_label("Close the log").click()
    page.locator('[data-state="failed"]').click()
    page.get_by_role("button", name="Read the 1 that failed again").click()
    expect(page.locator("#batch-title")).to_have_text("15 files: 15 dealt with", timeout=60_000)
    expect(page.locator('[data-state="failed"] .count')).to_have_text("1")
    alice.assert_quiet()


def test_sending_is_paused_cut_off_gone_on_with_and_cancelled(visit: Visit, tmp_path: Path) -> None:
    page = visit("alice").page
    _open_contracts(page)
    mark = uuid.uuid4().hex[:8]
    files = []
    for n in range(24):
        files.append(tmp_path / f"slip-{mark}-{n}.txt")
        files[-1].write_text(f"Slip {n} of {mark} goes to room {n}.")
    page.route("**/files/*", lambda route: route.abort())  # the connection is down
    page.set_input_files("#files", files)
    page.get_by_role("button", name="Pause", exact=True).press("Enter")
    expect(page.locator("[data-bulk-state]")).to_contain_text("Paused")
    expect(page.locator("#batch .notice")).to_contain_text("Files that wait are not read until you go on")
    address = page.url
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(address)
    expect(page.locator('[data-state="not_sent"] .count')).to_have_text("24")
    check(page)
    page.get_by_role("button", name="Go on").press("Enter")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    page.wait_for_load_state()  # with the script that takes the files
    page.unroute("**/files/*")
    page.set_input_files("#resume-files", files[:20])
    expect(page.locator("[data-bulk-state]")).to_contain_text("20 of 20 files were sent", timeout=60_000)
    page.goto(address)
    expect(page.locator('[data-state="not_sent"] .count')).to_have_text("4")
    page.get_by_role("button", name="Cancel the upload").first.click()
    page.locator("#cancel-batch").get_by_role("button", name="Cancel the upload").click()
    expect(page.locator('[data-state="cancelled"] .count')).to_have_text("4")
    expect(page.locator("#batch-title")).to_have_text("24 files: 24 dealt with", timeout=60_000)


def test_a_batch_is_its_senders_own(visit: Visit) -> None:
    alice = visit("alice").page
    _open_contracts(alice)
    collection = alice.url.rsplit("/", 1)[1]
    headers = {"X-CSRFToken": str(alice.input_value(".drop [name=csrfmiddlewaretoken]")), "Referer": alice.url}
    made = alice.request.post(f"/library/{collection}/bulk", headers=headers, data={}).json()
    assert alice.request.get(made["address"]).status == 200
    for who in ("bob", "charlie"):
        stranger = visit(who).page
        assert stranger.request.get(made["address"]).status == 404
        assert stranger.request.get(f"{made['address']}/unsent").status == 404
