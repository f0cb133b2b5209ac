"""Collections and documents over REST: from an upload to its destruction."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from appliance_desk import (
    QUESTION,
    Desk,
    Room,
    added,
    blob_files,
    evidence_since,
    finished,
    last_event_id,
    refusal,
    search,
    until,
    upload,
)
from openapi_spec_validator import validate

from appliance.documents.models import Chunk, ChunkEmbedding, DocumentVersion, Posting, VersionText

TEXT = "Bellwether clause.\n\nThe supplier shall deliver 40 crates of quince each Tuesday.\n"


def test_a_collection_is_listed_with_the_documents_its_reader_may_see(alice: httpx.Client, contracts: str) -> None:
    listed = alice.get("/api/v1/collections").json()
    assert [collection["name"] for collection in listed] == ["Contracts", "Policies"]
    assert listed[0] == {
        "id": contracts,
        "name": "Contracts",
        "description": "",
        "classification": "confidential",
        "documents": 8,
    }


def test_only_a_collection_manager_makes_collections(mary: httpx.Client, alice: httpx.Client) -> None:
    wanted = {"name": f"Matter {uuid.uuid4()}", "classification": "restricted", "description": "About quinces."}
    assert refusal(alice.post("/api/v1/collections", json=wanted)) == (404, "not_found")
    made = mary.post("/api/v1/collections", json=wanted)
    assert made.status_code == 201
    assert made.json() == wanted | {"id": made.json()["id"], "documents": 0}
    assert made.json() in mary.get("/api/v1/collections").json()
    assert refusal(mary.post("/api/v1/collections", json=wanted)) == (409, "collection_exists")
    assert refusal(alice.post("/api/v1/collections", json=wanted)) == (404, "not_found")


def test_an_upload_becomes_ready_and_gives_back_its_bytes_text_and_pages(mary: httpx.Client, matter: str) -> None:
    content = TEXT.encode()
    sent = upload(mary, matter, "quince.txt", content)
    assert sent.status_code == 202
    assert sent.json()["status"] in ("queued", "parsing", "embedding", "ready")
    found = finished(mary, sent.json()["id"])
    (version,) = found["versions"]
    assert (found["status"], found["error"], found["current_version"]) == ("ready", None, 1)
    assert (found["filename"], found["collection"]) == ("quince.txt", matter)
    assert (version["n"], version["status"], version["error"]) == (1, "ready", None)
    assert (version["size_bytes"], version["media_type"]) == (len(content), "text/plain")
    assert version["sha256"] == hashlib.sha256(content).hexdigest()
    assert version["chunks"] == version["chunks_done"] >= 1
    address = f"/api/v1/documents/{found['id']}/versions/1"
    original = mary.get(f"{address}/content")
    assert original.content == content
    assert original.headers["Content-Disposition"] == 'attachment; filename="quince.txt"'
    text = mary.get(f"{address}/text").json()
    assert "40 crates of quince each Tuesday" in text["text"]
    assert len(text["pages"]) == version["pages"]
    assert text["pages"][0][:2] == [1, 0] and text["pages"][-1][2] == len(text["text"])


def test_every_search_result_is_the_stretch_of_text_it_says(alice: httpx.Client, contracts: str) -> None:
    found = search(alice, QUESTION, contracts, k=7)
    in_view = {"collections": 1, "documents": 8, "searched": 8, "not_ready": 0}
    assert found["coverage"] == in_view | {"reranked": 0, "not_reranked": 0}
    assert len(found["results"]) == 7
    scores = [passage["score"] for passage in found["results"]]
    assert scores == sorted(scores, reverse=True) and scores[-1] > 0
    assert "3.2 Clinical Areas shall be cleaned at least twice" in "".join(p["text"] for p in found["results"])
    keys = {"document", "version", "chunk", "title", "heading", "page", "start", "end", "text", "score", "more_like_it"}
    for passage in found["results"]:
        assert set(passage) == keys
        version = alice.get(f"/api/v1/documents/{passage['document']}/versions/{passage['version']}/text").json()
        assert passage["text"] == version["text"][passage["start"] : passage["end"]] != ""
        page = next(page for page in version["pages"] if page[0] == passage["page"])
        assert page[1] <= passage["start"] < page[2]


def test_the_same_bytes_twice_are_one_version_and_changed_bytes_a_second(mary: httpx.Client, matter: str) -> None:
    first = TEXT.encode()
    document = added(mary, matter, "quince.txt", first)
    assert upload(mary, matter, "quince.txt", first).json()["id"] == document
    assert upload(mary, matter, "other name.txt", first).json()["id"] == document
    assert [v["n"] for v in mary.get(f"/api/v1/documents/{document}").json()["versions"]] == [1]

    second = TEXT.replace("40 crates", "55 crates").encode()
    assert upload(mary, matter, "quince.txt", second).json()["id"] == document
    found = finished(mary, document, n=2)
    assert ([v["n"] for v in found["versions"]], found["current_version"]) == ([2, 1], 2)
    for n, content in ((1, first), (2, second)):
        assert mary.get(f"/api/v1/documents/{document}/versions/{n}/content").content == content
    results = search(mary, "How many crates of quince?", matter)["results"]
    assert {passage["version"] for passage in results} == {2}
    assert "55 crates" in results[0]["text"]
    assert refusal(mary.get(f"/api/v1/documents/{document}/versions/3/content")) == (404, "not_found")


def test_files_sent_at_the_same_moment_are_one_version_or_told_apart(mary: httpx.Client, matter: str) -> None:
    def send(content: bytes) -> httpx.Response:
        return upload(mary, matter, "quince.txt", content)

    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(send, [TEXT.encode()] * 8))
        assert {response.status_code for response in same} == {202}
        (document,) = {response.json()["id"] for response in same}
        found = finished(mary, document)
        assert [version["n"] for version in found["versions"]] == [1]
        others = list(pool.map(send, [f"{TEXT} Batch {n}.".encode() for n in range(4)]))
    assert {response.status_code for response in others} == {202}
    found = finished(mary, document, n=5)
    assert [version["n"] for version in found["versions"]] == [5, 4, 3, 2, 1]
    assert until(lambda: mary.get(f"/api/v1/documents/{document}").json()["current_version"] == 5)


def test_the_same_bytes_in_two_collections_are_two_documents(
    mary: httpx.Client, new_collection: Callable[[], str]
) -> None:
    documents = {added(mary, new_collection(), "quince.txt", TEXT.encode()) for _ in range(2)}
    assert len(documents) == 2


def test_a_deleted_document_is_destroyed_and_its_audit_stays(
    mary: httpx.Client, matter: str, django_room: Room
) -> None:
    keeper = added(mary, matter, "keeper.txt", b"The keeper stays where it is.")
    document = added(mary, matter, "quince.txt", TEXT.encode())
    (version,) = DocumentVersion.objects.filter(document=document)
    (blob,) = {path for path in blob_files(django_room) if path.name == version.blob_key}
    before = last_event_id()
    address = f"/api/v1/documents/{document}"
    assert mary.delete(address).status_code == 204
    for gone in (address, f"{address}/versions/1/content", f"{address}/versions/1/text"):
        assert refusal(mary.get(gone)) == (404, "not_found")
    assert refusal(mary.delete(address)) == (404, "not_found")
    assert not blob.exists()
    assert not DocumentVersion.objects.filter(pk=version.pk).exists()
    for table in (Chunk, ChunkEmbedding, Posting, VersionText):
        assert not table.objects.filter(version_id=version.pk).exists()
    assert {p["document"] for p in search(mary, "crates of quince", matter)["results"]} == {keeper}
    (deleted,) = evidence_since(before, type="delete")
    assert deleted["entities"][0] == {"kind": "document", "id": document}
    uploads = evidence_since(0, type="upload", entities__object_id=document)
    assert [event["action"] for event in uploads] == ["document.upload"]


def test_a_hold_and_a_lesser_grant_both_refuse_deletion(mary: httpx.Client, bob: httpx.Client, matter: str) -> None:
    from appliance.documents.models import Collection

    document = added(mary, matter, "quince.txt", TEXT.encode())
    grant = {"user": "bob", "role": "contributor"}
    assert mary.post(f"/api/v1/collections/{matter}/grants", json=grant).status_code == 201
    assert bob.get(f"/api/v1/documents/{document}").status_code == 200
    assert refusal(bob.delete(f"/api/v1/documents/{document}")) == (404, "not_found")
    Collection.objects.filter(pk=matter).update(legal_hold=True)
    assert refusal(mary.delete(f"/api/v1/documents/{document}")) == (409, "legal_hold")
    assert mary.get(f"/api/v1/documents/{document}/versions/1/content").content == TEXT.encode()
    Collection.objects.filter(pk=matter).update(legal_hold=False)
    assert mary.delete(f"/api/v1/documents/{document}").status_code == 204


def test_documents_are_listed_by_title_a_page_at_a_time(alice: httpx.Client, contracts: str) -> None:
    whole = alice.get("/api/v1/documents", params={"collection": contracts}).json()
    titles = [document["title"] for document in whole]
    assert len(titles) == 8 and {document["collection"] for document in whole} == {contracts}
    parts = [
        alice.get("/api/v1/documents", params={"collection": contracts, "offset": at, "limit": 3}).json()
        for at in (0, 3, 6, 9)
    ]
    assert [len(part) for part in parts] == [3, 3, 2, 0]
    assert [document["title"] for part in parts for document in part] == titles
    wrong = alice.get("/api/v1/documents", params={"limit": 501})
    assert refusal(wrong) == (400, "invalid_request")


def test_the_api_description_is_valid_and_needs_nothing_from_outside(desk: Desk) -> None:
    with desk.anonymous() as client:
        described = client.get("/api/v1/openapi.json")
    document = described.json()
    validate(document)
    assert {"/api/v1/collections", "/api/v1/documents", "/api/v1/search"} <= set(document["paths"])
    assert "http://" not in described.text and "https://" not in described.text
    assert document["components"]["securitySchemes"]["TokenOrSession"] == {"type": "http", "scheme": "bearer"}
