"""The page on which managers try search out: what it shows, what it keeps, and that nobody else gets there."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Iterator

import httpx
import pytest
from appliance_desk import Desk, until
from django.db import connection

from appliance.accounts.models import User
from appliance.audit.models import AuditEvent
from appliance.documents.models import Collection, Document, Grant, QuestionSet, RetrievalRun
from appliance.documents.retrieval.tuning import progress

QUESTION = "How long is the notice of termination?"


@pytest.fixture(scope="module")
def managed(desk: Desk) -> Iterator[Collection]:
    """Contracts, for as long as the tests run managed by mary too."""
    collection = Collection.objects.get(name="Contracts")
    grant = Grant.objects.create(user=User.objects.get(username="mary"), collection=collection, role="manager")
    yield collection
    grant.delete()


@pytest.fixture(scope="module")
def mary(desk: Desk) -> Iterator[httpx.Client]:
    browser = desk.room.browser_session("mary")
    yield browser
    browser.close()


def _post(browser: httpx.Client, address: str, **fields: str) -> httpx.Response:
    token = {"csrfmiddlewaretoken": browser.cookies["reading_room_csrf"]}
    return browser.post(address, data=token | fields, headers={"Referer": str(browser.base_url)})


def test_a_question_shows_passages_with_the_parts_of_their_scores(mary: httpx.Client, managed: Collection) -> None:
    empty = mary.get(f"/manage/collections/{managed.pk}/retrieval")
    assert empty.status_code == 200 and "Ask something" in empty.text
    assert "Contracts: by clause" in empty.text and "versions are indexed this way" in empty.text
    before = AuditEvent.objects.filter(action="search.passages").count()
    asked = mary.get(f"/manage/collections/{managed.pk}/retrieval", params={"q": QUESTION})
    assert asked.status_code == 200
    assert asked.text.count("<summary>Score") > 1
    assert "By meaning it comes" in asked.text and "BM25" in asked.text and "Holds a period" in asked.text
    assert AuditEvent.objects.filter(action="search.passages").count() == before + 1


def test_a_saved_set_gives_recall_before_and_after_a_change(mary: httpx.Client, managed: Collection) -> None:
    here = f"/manage/collections/{managed.pk}/retrieval"
    assert _post(mary, f"{here}/sets", name="Terms").status_code == 302
    made = QuestionSet.objects.get(collection=managed, name="Terms")
    asked = mary.get(here, params={"q": QUESTION}).text
    first = re.search(r'name="document" value="([^"]+)"><input type="hidden" name="expected" value="([^"]+)"', asked)
    assert first is not None
    document, expected = (html.unescape(group) for group in first.groups())
    sets = f"{here}/sets/{made.pk}"
    assert _post(mary, f"{sets}/questions", q=QUESTION, document=document, expected=expected).status_code == 302
    assert _post(mary, f"{sets}/run").status_code == 302
    try:
        assert _post(mary, f"{here}/settings", language="simple").status_code == 302
        assert Collection.objects.get(pk=managed.pk).language == "simple"
        managed.refresh_from_db()
        until(lambda: progress(managed).is_over)
        with connection.cursor() as cursor:  # unstemmed words are in the index now
            cursor.execute(
                "SELECT count(*) FROM documents_posting AS p JOIN documents_documentversion AS v ON v.id = p.version_id"
                " JOIN documents_document AS d ON d.id = v.document_id WHERE d.collection_id = %s AND p.term = %s",
                [managed.pk, "the"],
            )
            assert cursor.fetchone()[0] > 0
        assert _post(mary, f"{sets}/run").status_code == 302
    finally:
        _post(mary, f"{here}/settings", language="english")
        managed.refresh_from_db()
        until(lambda: progress(managed).is_over)
    runs = list(RetrievalRun.objects.filter(question_set=made).order_by("pk"))
    assert [run.settings["language"] for run in runs] == ["english", "simple"]
    assert list(runs[0].ranks.values()) == [1]
    shown = mary.get(here).text
    assert "(before)" in shown and "1.00" in shown
    assert _post(mary, f"{sets}/delete").status_code == 302
    assert not QuestionSet.objects.filter(pk=made.pk).exists()


def test_refusals_are_plain(mary: httpx.Client, managed: Collection) -> None:
    here = f"/manage/collections/{managed.pk}/retrieval"
    assert _post(mary, f"{here}/settings", language="klingon").status_code == 400
    assert _post(mary, f"{here}/settings", chunk_template="novel").status_code == 400
    assert _post(mary, f"{here}/sets", name=" ").status_code == 400


@pytest.mark.parametrize("username", ["alice", "bob"])
def test_who_does_not_manage_the_collection_finds_no_such_page(desk: Desk, managed: Collection, username: str) -> None:
    client = desk.room.browser_session(username)
    here = f"/manage/collections/{managed.pk}/retrieval"
    question_set = QuestionSet.objects.create(collection=managed, name=f"Of mary, not of {username}")
    document = Document.objects.filter(collection=managed).first()
    assert document is not None
    for address in (here, f"{here}?q=notice", f"{here}/progress", f"/manage/collections/{uuid.uuid4()}/retrieval"):
        assert client.get(address).status_code == 404
    sets = f"{here}/sets/{question_set.pk}"
    for address in (f"{here}/settings", f"{here}/sets", f"{sets}/run", f"{sets}/delete", f"{sets}/questions"):
        answer = _post(
            client, address, name="Mine", language="simple", q="notice", document=str(document.pk), expected="x" * 20
        )
        assert answer.status_code == 404, address
    assert QuestionSet.objects.filter(pk=question_set.pk).exists()
    assert not question_set.questions.exists() and not question_set.runs.exists()
    assert Collection.objects.get(pk=managed.pk).language == "english"
    question_set.delete()
    client.close()
