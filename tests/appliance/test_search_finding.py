"""Finding words as they stand, and the passages around one: what is found, what is refused, and for whom."""

from __future__ import annotations

import re
import uuid

import httpx
import pytest
from django.db import transaction

from appliance.accounts.models import User
from appliance.documents.models import Document, VersionText
from appliance.documents.retrieval.find import check_pattern, find
from appliance.lib.errors import BadRequest

pytestmark = pytest.mark.usefixtures("django_room")


@pytest.fixture(scope="module")
def contract() -> Document:
    """A contract that alice may read and bob and charlie may not."""
    found = (
        Document.objects.filter(collection__name="Contracts", current_version__isnull=False).order_by("title").first()
    )
    assert found is not None
    return found


def _words(document: Document) -> tuple[str, VersionText]:
    """Six words in a row from the middle of the document."""
    assert document.current_version is not None
    text = VersionText.objects.get(pk=document.current_version.pk)
    words = text.text.split()
    return " ".join(words[len(words) // 2 : len(words) // 2 + 6]), text


def _error(response: httpx.Response) -> dict[str, str]:
    """The refusal without the number that is each request's own."""
    return {name: value for name, value in response.json()["error"].items() if name != "request_id"}


def test_words_are_found_whatever_their_case_with_their_offsets(alice: httpx.Client, contract: Document) -> None:
    words, text = _words(contract)
    for spelled in (words, words.upper(), words.lower()):
        response = alice.post("/api/v1/find", json={"query": spelled, "document": str(contract.pk)})
        assert response.status_code == 200, response.text
        first = response.json()["matches"][0]
        assert first["document"] == str(contract.pk)
        assert first["text"] == text.text[first["start"] : first["end"]]
        assert first["text"].split() == words.split()
        assert first["before"] + first["text"] == text.text[first["start"] - len(first["before"]) : first["end"]]


def test_matches_come_in_pages_that_join(alice: httpx.Client) -> None:
    whole = alice.post("/api/v1/find", json={"query": "shall", "limit": 12}).json()
    pages, offset = [], 0
    for _ in range(3):
        page = alice.post("/api/v1/find", json={"query": "shall", "limit": 4, "offset": offset}).json()
        pages += page["matches"]
        offset = page["next_offset"]
    assert pages == whole["matches"]
    assert whole["next_offset"] == 12


def test_a_regular_expression_finds_what_reading_finds(alice: httpx.Client, contract: Document) -> None:
    body = {"query": r"\d+ (days|months)", "regex": True, "document": str(contract.pk), "limit": 200}
    matches = alice.post("/api/v1/find", json=body).json()["matches"]
    _, text = _words(contract)
    assert [(m["start"], m["end"]) for m in matches] == [
        m.span() for m in re.finditer(r"\d+ (?:days|months)", text.text)
    ]


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)*b", r"(.*)\1", r"a{1,200}", r"(?=a)b", r"(a{2}){3}"])
def test_expressions_that_could_run_away_are_refused_by_name(alice: httpx.Client, pattern: str) -> None:
    response = alice.post("/api/v1/find", json={"query": pattern, "regex": True})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsafe_pattern")
    assert response.json()["error"]["hint"]


def test_an_expression_that_cannot_be_read_is_refused(alice: httpx.Client) -> None:
    response = alice.post("/api/v1/find", json={"query": "a[", "regex": True})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_pattern")


def test_escaped_signs_are_not_taken_for_operators() -> None:
    check_pattern(r"\(a\)\+ [0-9]{1,3}")
    with pytest.raises(BadRequest):
        check_pattern(r"(\))+")


def test_percent_and_underscore_mean_themselves(alice: httpx.Client) -> None:
    found = alice.post("/api/v1/find", json={"query": "%"}).json()["matches"]
    assert all(match["text"] == "%" for match in found)
    assert alice.post("/api/v1/find", json={"query": "_%_zz"}).json()["matches"] == []


def test_who_may_not_read_finds_nothing_and_the_document_is_not_there(
    alice: httpx.Client, bob: httpx.Client, contract: Document
) -> None:
    words, _ = _words(contract)
    body = {"query": words}
    assert alice.post("/api/v1/find", json=body).json()["matches"]
    assert bob.post("/api/v1/find", json=body).json() == {"matches": [], "next_offset": None}
    inside = body | {"document": str(contract.pk)}
    assert alice.post("/api/v1/find", json=inside).status_code == 200
    missing = bob.post("/api/v1/find", json=body | {"document": str(uuid.uuid4())})
    forbidden = bob.post("/api/v1/find", json=inside)
    assert forbidden.status_code == missing.status_code == 404
    assert _error(forbidden) == _error(missing)
    closed = bob.post("/api/v1/find", json=body | {"collections": [str(contract.collection_id)]})
    assert closed.status_code == 404


def test_the_passages_around_one_are_read_in_order_and_only_by_readers(alice: httpx.Client, bob: httpx.Client) -> None:
    hit = alice.post("/api/v1/search", json={"query": "notice of termination", "k": 1}).json()["results"][0]
    address = f"/api/v1/documents/{hit['document']}/versions/{hit['version']}/chunks/{hit['chunk']}"
    around = alice.get(address, params={"around": 1}).json()
    assert [chunk["chunk"] for chunk in around] == sorted(chunk["chunk"] for chunk in around)
    itself = next(chunk for chunk in around if chunk["chunk"] == hit["chunk"])
    assert (itself["text"], itself["start"], itself["end"]) == (hit["text"], hit["start"], hit["end"])
    assert len(around) > 1
    private = alice.post("/api/v1/search", json={"query": "supply agreement price", "k": 20}).json()["results"]
    readable = {document["id"] for document in bob.get("/api/v1/documents", params={"limit": 500}).json()}
    closed = next(result for result in private if result["document"] not in readable)
    address = f"/api/v1/documents/{closed['document']}/versions/{closed['version']}/chunks/{closed['chunk']}"
    assert alice.get(address).status_code == 200
    assert bob.get(address).status_code == 404
    assert _error(bob.get(f"/api/v1/documents/{uuid.uuid4()}/versions/1/chunks/0")) == _error(bob.get(address))
    assert alice.get(address, params={"around": 11}).status_code == 400


def test_what_takes_too_long_is_stopped_by_the_database(contract: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a thousand matches makes the database go through two million characters: minutes, if it were let."""
    alice = User.objects.get(username="alice")
    monkeypatch.setattr("appliance.documents.retrieval.find._DEADLINE_MS", 400)
    with transaction.atomic():
        VersionText.objects.filter(pk=contract.current_version_id).update(text="zq " * 700_000)
        with pytest.raises(BadRequest) as refused:
            find(alice, r"z[pqr]", regex=True, document_id=contract.pk, offset=1_000, limit=200)
        assert refused.value.public_code == "find_too_slow"
        monkeypatch.undo()
        assert find(alice, r"z[pqr]", regex=True, document_id=contract.pk, limit=1).next_offset == 1  # goes on working
        transaction.set_rollback(True)
