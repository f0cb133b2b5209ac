"""Versions over REST: listed, added, rolled back, read again one by one or all, opened with a password, explained."""

from __future__ import annotations

import uuid

import httpx
import pytest
from appliance_desk import Desk, added, evidence_since, finished, last_event_id, refusal, search, upload
from test_files_ingest import PASSWORD, pdf

from appliance.documents.models import DocumentVersion

GATE = "The Ambrelle gate opens at {}."


def _opens(client: httpx.Client, collection: str) -> str:
    return str(search(client, "When does the Ambrelle gate open?", collection)["results"][0]["text"])


def test_versions_are_added_listed_and_rolled_back(mary: httpx.Client, matter: str) -> None:
    document = added(mary, matter, "gate.txt", GATE.format("seven").encode())
    address = f"/api/v1/documents/{document}/versions"
    file = {"file": ("another name.txt", GATE.format("nine").encode(), "text/plain")}
    sent = mary.post(address, files=file)
    assert (sent.status_code, sent.json()["id"], sent.json()["current_version"]) == (202, document, 1)
    assert finished(mary, document, n=2)["current_version"] == 2
    listed = mary.get(address).json()
    assert [(version["n"], version["status"]) for version in listed] == [(2, "ready"), (1, "ready")]
    assert listed == mary.get(f"/api/v1/documents/{document}").json()["versions"]
    assert "nine" in _opens(mary, matter)
    before = last_event_id()
    assert mary.post(f"{address}/1/current").json()["current_version"] == 1
    assert "seven" in _opens(mary, matter)
    assert [event["action"] for event in evidence_since(before, type="setting")] == ["document.make_current"]
    assert refusal(mary.post(f"{address}/3/current")) == (404, "not_found")
    assert refusal(mary.post(address, files=file)) == (409, "same_bytes")


def test_a_failed_version_is_read_again_and_its_log_says_so(mary: httpx.Client, matter: str) -> None:
    document = upload(mary, matter, "torn.pdf", b"%PDF-1.7 then nothing").json()["id"]
    assert finished(mary, document)["error"]["code"] == "damaged"
    address = f"/api/v1/documents/{document}/versions/1"
    assert refusal(mary.post(f"{address}/password", json={"password": PASSWORD})) == (409, "not_locked")
    assert mary.post(f"{address}/retry").status_code == 202
    assert finished(mary, document)["error"]["code"] == "damaged"
    steps = mary.get(f"{address}/log").json()
    assert [step["step"] for step in steps] == ["started", "failed", "retried", "started", "failed"]
    assert steps[2]["detail"] == {"code": "damaged"} and steps[-1]["detail"]["code"] == "damaged"
    ready = added(mary, matter, "gate.txt", GATE.format("ten").encode())
    assert refusal(mary.post(f"/api/v1/documents/{ready}/versions/1/retry")) == (409, "not_failed")


def test_a_password_opens_a_file_and_is_kept_nowhere(mary: httpx.Client, matter: str) -> None:
    document = upload(mary, matter, "locked.pdf", pdf("The vault holds 17 ledgers.", password=PASSWORD)).json()["id"]
    address = f"/api/v1/documents/{document}/versions/1"
    before = last_event_id()
    assert finished(mary, document)["error"]["code"] == "encrypted"
    assert refusal(mary.post(f"{address}/password", json={"password": ""})) == (400, "invalid_request")
    assert mary.post(f"{address}/password", json={"password": "not this one"}).status_code == 202
    assert finished(mary, document)["error"]["code"] == "wrong_password"
    assert mary.post(f"{address}/password", json={"password": PASSWORD}).status_code == 202
    found = finished(mary, document)
    assert (found["status"], [version["n"] for version in found["versions"]]) == ("ready", [1])
    assert "17 ledgers" in search(mary, "How many ledgers does the vault hold?", matter)["results"][0]["text"]
    row = DocumentVersion.objects.get(document=document)
    assert row.sealed_password is None
    everything = str(mary.get(f"{address}/log").json()) + str(evidence_since(before)) + str(vars(row))
    assert "password_given" in everything
    assert PASSWORD not in everything and "not this one" not in everything
    retried = evidence_since(before, type="upload", entities__object_id=document)
    assert [event["action"] for event in retried] == ["document.retry", "document.retry"]


def test_all_that_failed_in_a_collection_is_read_again(mary: httpx.Client, matter: str) -> None:
    torn = [upload(mary, matter, f"torn-{n}.pdf", b"%%PDF-1.7 nothing %d" % n).json()["id"] for n in range(2)]
    added(mary, matter, "gate.txt", GATE.format("ten").encode())
    for document in torn:
        finished(mary, document)
    before = last_event_id()
    again = mary.post(f"/api/v1/collections/{matter}/retry")
    assert (again.status_code, again.json()) == (202, {"retried": 2})
    retried = [event for event in evidence_since(before, type="upload") if event["action"] == "document.retry"]
    assert {event["entities"][0]["id"] for event in retried} == set(torn)
    for document in torn:
        assert finished(mary, document)["status"] == "failed"


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "documents/{document}/versions"),
        ("POST", "documents/{document}/versions/1/current"),
        ("POST", "documents/{document}/versions/1/retry"),
        ("POST", "documents/{document}/versions/1/password"),
        ("GET", "documents/{document}/versions/1/log"),
        ("POST", "collections/{collection}/retry"),
    ],
)
def test_a_stranger_is_answered_as_for_nothing(
    desk: Desk, alice: httpx.Client, charlie: httpx.Client, contracts: str, method: str, address: str
) -> None:
    document = alice.get("/api/v1/documents", params={"collection": contracts}).json()[0]["id"]
    body = {"password": "x"} if address.endswith("password") else None
    nothing = str(uuid.uuid4())
    for ids in ({"document": document, "collection": contracts}, {"document": nothing, "collection": nothing}):
        answered = charlie.request(method, f"/api/v1/{address.format(**ids)}", json=body)
        assert refusal(answered) == (404, "not_found")
    address = f"/api/v1/{address.format(document=document, collection=contracts)}"
    with desk.anonymous() as nobody:
        assert refusal(nobody.request(method, address, json=body)) == (401, "not_signed_in")


def test_a_reader_sees_versions_and_changes_none(mary: httpx.Client, bob: httpx.Client, matter: str) -> None:
    document = added(mary, matter, "gate.txt", GATE.format("seven").encode())
    grant = {"user": "bob", "role": "reader"}
    assert mary.post(f"/api/v1/collections/{matter}/grants", json=grant).status_code == 201
    address = f"/api/v1/documents/{document}/versions"
    assert [version["n"] for version in bob.get(address).json()] == [1]
    assert bob.get(f"{address}/1/log").status_code == 200
    for act in (f"{address}/1/current", f"{address}/1/retry", f"/api/v1/collections/{matter}/retry"):
        assert refusal(bob.post(act)) == (404, "not_found")
    assert refusal(bob.post(f"{address}/1/password", json={"password": "x"})) == (404, "not_found")
