"""Which version is used when their readings end in another order than people decided."""

from __future__ import annotations

import uuid

import httpx
import pytest
from appliance_desk import Desk, added, evidence_since, finished, search, until, upload

from appliance.documents.models import Document, DocumentVersion, IngestStep
from appliance.documents.versions import do_make_current
from benchmarks.holds import held

TEXTS = "documents_versiontext"


@pytest.fixture
def document(mary: httpx.Client, matter: str) -> tuple[str, str]:
    """A document with versions 1 and 2, and its name."""
    name = f"rota-{uuid.uuid4().hex[:6]}.txt"
    pk = added(mary, matter, name, b"The heron keeps the first watch.")
    assert upload(mary, matter, name, b"The heron keeps the second watch.").status_code == 202
    assert finished(mary, pk, n=2)["status"] == "ready"
    return pk, name


def choose(document: str, n: int) -> None:
    """mary chooses a version, as the page does."""
    from appliance.accounts.models import User
    from appliance.ops.commands import COMMAND

    do_make_current(document, n, acting_user=User.objects.get(username="mary"), actor=COMMAND)


def current(document: str) -> int:
    in_use = Document.objects.select_related("current_version").get(pk=document).current_version
    assert in_use is not None
    return in_use.n


@pytest.mark.parametrize("chosen", [1, 2])
def test_a_version_sent_before_a_choice_by_hand_does_not_take_its_place_later(
    desk: Desk, mary: httpx.Client, matter: str, document: tuple[str, str], chosen: int
) -> None:
    pk, name = document
    with held(desk.room.environment["APPLIANCE_DATABASE_OWNER_URL"], TEXTS) as barrier:
        assert upload(mary, matter, name, b"The heron keeps the third watch.").status_code == 202
        barrier.await_waiters()
        choose(pk, chosen)
    found = finished(mary, pk, n=3)
    assert (found["status"], found["current_version"], current(pk)) == ("ready", chosen, chosen)
    word = {1: "first", 2: "second"}[chosen]
    assert [word in row["text"] for row in search(mary, "Which watch does the heron keep?", matter)["results"]] == [
        True
    ]
    (event,) = evidence_since(0, type="ingest", entities__object_id=pk, entities__version=3)
    assert event["detail"]["current"] is False
    ready = IngestStep.objects.get(version__document=pk, version__n=3, step="ready")
    assert ready.detail["current"] is False
    choose(pk, 3)  # it is there to be chosen
    assert current(pk) == 3
    assert upload(mary, matter, name, b"The heron keeps the fourth watch.").status_code == 202
    assert finished(mary, pk, n=4)["status"] == "ready"
    assert current(pk) == 4  # sent after the choice: it decides


def test_an_older_version_that_is_read_later_does_not_take_the_place_of_a_newer_one(
    mary: httpx.Client, document: tuple[str, str]
) -> None:
    pk, _ = document
    older = DocumentVersion.objects.filter(document=pk, n=1)
    older.update(status="queued", attempts=0, lease_until="2000-01-01T00:00Z")  # as a dead worker left it
    until(lambda: older.get().status == "ready")
    assert (finished(mary, pk)["current_version"], current(pk)) == (2, 2)
