"""Cutting and stemming again in the background: what is found meanwhile, what is kept, and who hears of it."""

from __future__ import annotations

from contextlib import closing

import httpx
import pytest
from appliance_desk import Desk, added, evidence_since, last_event_id, refusal, search, until
from django.test import override_settings

from appliance.documents import reindexing
from appliance.documents.models import (
    Chunk,
    ChunkTemplate,
    Collection,
    DocumentVersion,
    Posting,
    Reindexing,
    StagedChunk,
)
from appliance.documents.search import search as search_as
from appliance.documents.tasks import _cut
from appliance.ops import health
from ingest.templates import TEMPLATES

pytestmark = pytest.mark.usefixtures("django_room")

NOTE = b"""HISTORY
Chest pain for two days, worse on walking uphill to the observatory.

MEDICATION: aspirin 75 mg daily, ramipril 5 mg daily.

PLAN
Stop aspirin. Repeat the troponin tomorrow.
"""


def test_every_template_can_be_chosen() -> None:
    assert set(ChunkTemplate.values) == set(TEMPLATES)


def _settled(client: httpx.Client, collection: str) -> dict[str, object] | None:
    found: dict[str, object] = client.get(f"/api/v1/collections/{collection}/retrieval").json()
    return found if found["versions_done"] == found["versions"] else None


def test_another_template_cuts_the_documents_again_and_citations_hold(mary: httpx.Client, matter: str) -> None:
    document = added(mary, matter, "note.txt", NOTE)
    version = DocumentVersion.objects.get(document=document)
    (whole,) = search(mary, "troponin", matter)["results"]
    text = mary.get(f"/api/v1/documents/{document}/versions/1/text").json()["text"]
    before = last_event_id()
    here = f"/api/v1/collections/{matter}/retrieval"
    assert mary.get(here).json()["chunk_template"] == "generic"
    changed = mary.patch(here, json={"chunk_template": "clinical_note"})
    assert changed.status_code == 200 and changed.json()["chunk_template"] == "clinical_note"
    until(lambda: _settled(mary, matter))

    found = search(mary, "troponin", matter)["results"]
    assert len(found) == 3 and found[0]["heading"] == "PLAN"
    assert all(passage["text"] == text[passage["start"] : passage["end"]] for passage in found)
    assert text == mary.get(f"/api/v1/documents/{document}/versions/1/text").json()["text"]
    assert whole["text"] == text[whole["start"] : whole["end"]]
    again = DocumentVersion.objects.get(pk=version.pk)
    assert (again.n, again.status, again.num_chunks, again.indexed_template) == (1, "ready", 3, "clinical_note")
    assert not Reindexing.objects.filter(version=version).exists()
    events = evidence_since(before, action="collection.retrieval")
    assert [event["detail"] for event in events] == [
        {"setting": "chunk_template", "from": "generic", "to": "clinical_note"}
    ]
    (done,) = evidence_since(before, action="document.reindex")
    assert done["detail"] == {"chunks": 3, "language": "english", "template": "clinical_note"}

    assert mary.patch(here, json={"chunk_template": "generic"}).status_code == 200
    until(lambda: _settled(mary, matter))
    (back,) = search(mary, "troponin", matter)["results"]
    assert {name: back[name] for name in ("start", "end", "text", "page", "chunk")} == {
        name: whole[name] for name in ("start", "end", "text", "page", "chunk")
    }


def test_a_file_is_cut_by_the_template_its_collection_has(mary: httpx.Client, matter: str) -> None:
    assert mary.patch(f"/api/v1/collections/{matter}/retrieval", json={"chunk_template": "clinical_note"}).is_success
    document = added(mary, matter, "note.txt", NOTE)
    texts = Chunk.objects.filter(version__document=document).order_by("ordinal").values_list("text", flat=True)
    assert [text.replace(":", "\n").split("\n")[0] for text in texts] == ["HISTORY", "MEDICATION", "PLAN"]


def test_what_a_dead_worker_staged_is_gone_on_with_and_found_as_before_until_then(
    desk: Desk, mary: httpx.Client, matter: str
) -> None:
    document = added(mary, matter, "note.txt", NOTE)
    version = DocumentVersion.objects.select_related("document__collection").get(document=document)
    pieces = _cut(version, "clinical_note")
    work = Reindexing.objects.create(
        version=version, template="clinical_note", model=None, lease_until="2999-01-01T00:00Z"
    )
    StagedChunk.objects.bulk_create(
        [
            StagedChunk(
                work=work, ordinal=piece.ordinal, page=1, start=piece.start, end=piece.end, heading=piece.heading,
                text=piece.text, indexed_text=piece.indexed_text,
            )
            for piece in pieces
        ]
    )  # fmt: skip
    Collection.objects.filter(pk=matter).update(chunk_template="clinical_note")
    (before,) = search(mary, "troponin", matter)["results"]  # the lease is held: nobody goes on
    assert "HISTORY" in before["text"]
    assert mary.get(f"/api/v1/collections/{matter}/retrieval").json()["versions_done"] == 0
    with closing(desk.room.browser_session("mary")) as browser:
        shown = browser.get(f"/manage/collections/{matter}/retrieval/progress").text
    assert "0 of 1 document versions are indexed this way" in shown and "hx-trigger" in shown
    staged = set(StagedChunk.objects.filter(work=work).values_list("pk", flat=True))
    Reindexing.objects.filter(pk=version.pk).update(lease_until="2000-01-01T00:00Z")
    until(lambda: _settled(mary, matter))  # by the sweeper
    assert len(search(mary, "troponin", matter)["results"]) == 3
    assert not StagedChunk.objects.filter(pk__in=staged).exists()
    terms = Posting.objects.filter(version=version).values_list("chunk_id", flat=True)
    assert set(terms) == set(Chunk.objects.filter(version=version).values_list("pk", flat=True))


def test_what_was_staged_for_a_setting_that_was_taken_back_is_removed(mary: httpx.Client, matter: str) -> None:
    document = added(mary, matter, "note.txt", NOTE)
    version = DocumentVersion.objects.get(document=document)
    work = Reindexing.objects.create(version=version, template="mail", lease_until="2000-01-01T00:00Z")
    StagedChunk.objects.create(work=work, ordinal=0, page=1, start=0, end=1, text="H", indexed_text="H")
    here = f"/api/v1/collections/{matter}/retrieval"
    for template in ("mail", "generic"):
        assert mary.patch(here, json={"chunk_template": template}).is_success
    until(lambda: not Reindexing.objects.filter(version=version).exists())
    assert not StagedChunk.objects.filter(work=version.pk).exists()
    (found,) = search(mary, "troponin", matter)["results"]
    assert "HISTORY" in found["text"]


def test_each_document_is_read_in_the_language_it_is_indexed_in(mary: httpx.Client, matter: str) -> None:
    document = added(mary, matter, "note.txt", b"The herons are standing by the weirs.")
    version = DocumentVersion.objects.get(document=document)
    Reindexing.objects.create(version=version, lease_until="2999-01-01T00:00Z")
    Collection.objects.filter(pk=matter).update(language="simple")  # the index still holds stems
    assert search_lexical(matter, "standing weir") > 0
    Reindexing.objects.filter(pk=version.pk).update(lease_until=None)
    until(lambda: _settled(mary, matter))
    assert search_lexical(matter, "weirs") > 0
    assert search_lexical(matter, "weir") == 0
    assert Posting.objects.filter(version=version, term="the").exists()


def search_lexical(collection: str, query: str) -> float:
    """How much the words of the first passage count."""
    from appliance.accounts.models import User

    (passage,) = search_as(User.objects.get(username="mary"), query, collection_ids=[collection]).passages
    assert passage.scores is not None
    return passage.scores.bm25


def test_who_does_not_manage_a_collection_learns_nothing_of_it(
    alice: httpx.Client, charlie: httpx.Client, contracts: str, matter: str
) -> None:
    for client, collection in ((alice, contracts), (charlie, contracts), (alice, matter)):
        here = f"/api/v1/collections/{collection}/retrieval"
        assert client.get(here).status_code == 404
        assert client.patch(here, json={"chunk_template": "mail"}).status_code == 404


def test_unknown_settings_are_refused_by_name(mary: httpx.Client, matter: str) -> None:
    here = f"/api/v1/collections/{matter}/retrieval"
    assert refusal(mary.patch(here, json={"chunk_template": "novel"})) == (400, "unknown_template")
    assert refusal(mary.patch(here, json={"language": "klingon"})) == (400, "unknown_language")


def test_without_its_reranker_search_goes_on_and_says_so(mary: httpx.Client, matter: str) -> None:
    from appliance.accounts.models import User

    added(mary, matter, "note.txt", NOTE)
    user = User.objects.get(username="mary")
    plain = search_as(user, "troponin", collection_ids=[matter])
    assert (plain.coverage.reranked, plain.coverage.not_reranked) == (0, 0)
    with override_settings(RERANKER="not-installed"):
        found = search_as(user, "troponin", collection_ids=[matter])
        part = health.check()["reranker"]
    assert (found.coverage.reranked, found.coverage.not_reranked) == (0, 1)
    assert found.passages == plain.passages
    assert part["status"] == "off" and "not-installed" in part["detail"]
    assert not reindexing.stale().filter(document__collection=matter).exists()
