"""A folder of mixed files is dropped on the page, and workers are killed meanwhile: every file is accounted for.

The suite takes a folder of 120; `make test-folder` takes the 500.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from browser_people import Visit, ask, squeezed
from mixed_folder import Mixed, mixed_folder
from playwright.sync_api import Page, expect
from test_viewer import _UNDER, drawn

pytestmark = pytest.mark.browser

NUM_FILES = int(os.environ.get("READING_ROOM_FOLDER_FILES", "120"))
_TIMEOUT_MS = 5_000 * NUM_FILES

_NEW_COLLECTION = """
from appliance.accounts.models import User
from appliance.documents.actions import do_create_collection, do_grant
from appliance.ops.commands import COMMAND
collection = do_create_collection({name!r}, acting_user=None, actor=COMMAND)
alice = User.objects.get(username="alice")
do_grant(collection, user=alice, role="contributor", acting_user=None, actor=COMMAND)
print(collection.pk)
"""


@pytest.fixture
def place(room: Any) -> str:
    """The address of an empty collection that alice alone may add to."""
    name = f"Mixed {uuid.uuid4().hex[:8]}"
    made = room.stack.manage("shell", "-c", _NEW_COLLECTION.format(name=name))
    return f"/library/{made.stdout.split()[-1]}"


@pytest.fixture
def folder(tmp_path: Path) -> Mixed:
    return mixed_folder(tmp_path / "bundle", NUM_FILES, f"q{uuid.uuid4().hex[:6]}")


def kill_workers(room: Any, *, whole: bool) -> None:
    """SIGKILL to the worker and all of its processes, or to those that read files."""
    if whole:
        room.stack.kill("worker")
        room.stack.start_part("worker")
        return
    for process in psutil.Process(room.stack.pid("worker")).children():
        process.send_signal(signal.SIGKILL)


def count(page: Page, state: str) -> int:
    shown = page.locator(f'[data-state="{state}"] .count')
    return int(shown.inner_text().replace(",", "")) if shown.count() else 0


def until_ready(page: Page, number: int) -> None:
    """Until the page says that so many files are ready."""
    page.wait_for_function(
        """number => Number(document.querySelector('[data-state="ready"] .count')?.textContent || 0) >= number""",
        arg=number,
        timeout=_TIMEOUT_MS,
    )


def listed(page: Page, batch: str, state: str) -> Iterator[str]:
    """Every path that the page lists in a state."""
    number = 1
    while True:
        page.goto(f"{batch}?state={state}&page={number}")
        rows = page.locator("#batch tbody th")
        yield from rows.evaluate_all(
            "cells => cells.map(cell => (cell.querySelector('a') || cell.firstChild).textContent.trim())"
        )
        if not page.get_by_role("link", name="Next").count():
            return
        number += 1


def test_every_file_of_a_mixed_folder_is_accounted_for_whatever_happens_to_the_workers(
    visit: Visit, room: Any, folder: Mixed, place: str
) -> None:
    alice = visit("alice")
    page = alice.page
    page.goto(place)
    page.locator(".drop").wait_for()
    page.set_input_files("#folder", folder.root)
    page.locator("#batch-title").wait_for()
    until_ready(page, NUM_FILES // 10)
    kill_workers(room, whole=True)
    until_ready(page, NUM_FILES // 3)
    kill_workers(room, whole=False)
    expect(page.locator("[data-bulk-state]")).to_contain_text(
        f"{NUM_FILES} of {NUM_FILES} files were sent", timeout=_TIMEOUT_MS
    )
    expect(page.locator("#batch-title")).to_have_text(f"{NUM_FILES} files: {NUM_FILES} dealt with", timeout=_TIMEOUT_MS)
    batch = page.url.split("?")[0]
    for state in ("ready", "failed", "refused"):
        assert set(listed(page, batch, state)) == folder.of(state), state
        assert count(page, state) == len(folder.of(state))
    for state in ("working", "not_sent", "cancelled"):
        assert count(page, state) == 0
    page.goto(f"{batch}?state=failed")
    for note in page.locator("#batch tbody th").all_inner_texts()[:20]:
        assert len(note.splitlines()) > 1, note  # each says why
    for wanted in folder.wanted:
        ask_and_look(page, wanted.question, wanted.sentence, wanted.page)
    alice.assert_quiet()


def ask_and_look(page: Page, question: str, sentence: str, number: int) -> None:
    """The first citation of the answer opens on the right page, with exactly the sentence under the box."""
    page.goto("/")
    ask(page, question)
    page.locator("#thread a.cite").first.click()
    drawn(page)
    expect(page.locator("#source .pager input[name=go]")).to_have_value(str(number))
    assert squeezed("".join(page.evaluate(_UNDER)["under"])) == squeezed(sentence)
