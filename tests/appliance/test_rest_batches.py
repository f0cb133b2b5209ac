"""Uploads of many files over REST and from the machine: each file accounted for; paused, gone on with, cancelled."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from appliance_desk import Desk, added, evidence_since, finished, last_event_id, refusal, until

from appliance.documents.lease import Lease
from appliance.documents.models import Document, DocumentVersion


def _start(client: httpx.Client, collection: str, *paths: str) -> dict[str, Any]:
    files = [{"path": path, "size_bytes": 10} for path in paths]
    begun = client.post("/api/v1/batches", json={"collection": collection, "files": files})
    assert begun.status_code == 201, begun.text
    started: dict[str, Any] = begun.json()
    return started


def _send(client: httpx.Client, batch: dict[str, Any], at: int, content: bytes) -> dict[str, Any]:
    file = {"file": ("any name", content, "application/octet-stream")}
    sent = client.post(f"/api/v1/batches/{batch['id']}/files/{batch['files'][at]}", files=file)
    assert sent.status_code == 202, sent.text
    answer: dict[str, Any] = sent.json()
    return answer


def _settled(client: httpx.Client, batch: dict[str, Any]) -> dict[str, int]:
    address = f"/api/v1/batches/{batch['id']}"
    until(lambda: client.get(address).json()["states"]["working"] == 0)
    states: dict[str, int] = client.get(address).json()["states"]
    return {state: number for state, number in states.items() if number}


def test_every_file_of_an_upload_is_accounted_for(desk: Desk, mary: httpx.Client, matter: str) -> None:
    mark = uuid.uuid4().hex[:8]
    names = [
        "north/note.txt",
        "south/note.txt",
        "copy.txt",
        "torn.pdf",
        "empty.txt",
        "setup.exe",
        "late.txt",
        "huge.txt",
    ]
    batch = _start(mary, matter, *names)
    assert (batch["total"], batch["states"]["not_sent"], batch["paused"]) == (8, 8, False)
    taken = _send(mary, batch, 0, f"The north porter of {mark} has key 4.".encode())
    assert (taken["path"], taken["version"], taken["known"], taken["error"]) == ("north/note.txt", 1, False, None)
    _send(mary, batch, 1, f"The south porter of {mark} has key 5.".encode())
    again = _send(mary, batch, 0, b"what comes later under the same id is not taken")
    assert again["document"] == taken["document"]
    assert _send(mary, batch, 2, f"The south porter of {mark} has key 5.".encode())["known"]
    _send(mary, batch, 3, b"%PDF-1.7 then nothing")
    assert _send(mary, batch, 4, b"")["error"]["code"] == "empty_file"
    assert _send(mary, batch, 5, b"MZ")["state"] == "refused"
    assert _send(mary, batch, 7, bytes(3 * 1024 * 1024 + 1))["error"]["code"] == "upload_too_large"
    assert _settled(mary, batch) == {"ready": 3, "failed": 1, "refused": 3, "not_sent": 1}
    rows = mary.get(f"/api/v1/batches/{batch['id']}/files").json()
    assert [(row["path"], row["state"]) for row in rows] == list(
        zip(names, ["ready", "ready", "ready", "failed", "refused", "refused", "not_sent", "refused"], strict=True)
    )
    assert [row["error"]["code"] for row in rows if row["error"]] == [
        *("damaged", "empty_file", "unsupported_type", "upload_too_large")
    ]
    failed = mary.get(f"/api/v1/batches/{batch['id']}/files", params={"state": "failed"}).json()
    assert failed == [rows[3]]
    found = {d["filename"]: d["title"] for d in mary.get("/api/v1/documents", params={"collection": matter}).json()}
    assert {"north/note.txt", "south/note.txt"} <= set(found) and found["north/note.txt"] == "note"
    assert rows[0]["document"] != rows[1]["document"] == rows[2]["document"]
    assert mary.post(f"/api/v1/batches/{batch['id']}/retry").json() == {"retried": 1}
    assert _settled(mary, batch)["failed"] == 1
    assert batch["id"] in [each["id"] for each in mary.get("/api/v1/batches").json()]


def test_what_waits_in_a_paused_upload_is_read_when_it_goes_on(mary: httpx.Client, matter: str) -> None:
    batch = _start(mary, matter, "slow/one.txt", "slow/two.txt")
    address = f"/api/v1/batches/{batch['id']}"
    before = last_event_id()
    assert mary.post(f"{address}/pause").json()["paused"]
    assert mary.post(f"{address}/pause").json()["paused"]  # again is no change
    held = _send(mary, batch, 0, b"The slow porter has key 8.")
    added(mary, matter, "other.txt", b"Another upload is not held up by it.")
    row = DocumentVersion.objects.get(document=held["document"])
    assert (row.status, row.attempts) == ("queued", 0)
    assert Lease.claim(row.pk) is None
    assert mary.get(address).json()["states"]["working"] == 1
    assert not mary.post(f"{address}/resume").json()["paused"]
    assert finished(mary, held["document"])["status"] == "ready"
    assert [event["action"] for event in evidence_since(before, type="upload") if "batch" in event["detail"]] == [
        *("upload.pause", "upload.resume")
    ]


def test_a_cancelled_upload_takes_and_reads_nothing_more(mary: httpx.Client, matter: str) -> None:
    batch = _start(mary, matter, "a.txt", "b.txt", "c.txt")
    address = f"/api/v1/batches/{batch['id']}"
    ready = _send(mary, batch, 0, b"The first porter has key 1.")
    finished(mary, ready["document"])
    mary.post(f"{address}/pause")
    _send(mary, batch, 1, b"The second porter has key 2.")
    ended = mary.post(f"{address}/cancel").json()
    assert (ended["cancelled"], ended["paused"], ended["done"]) == (True, False, 3)
    assert {state: number for state, number in ended["states"].items() if number} == {
        "ready": 1,
        "failed": 1,
        "cancelled": 1,
    }
    rows = mary.get(f"{address}/files").json()
    assert [row["error"] and row["error"]["code"] for row in rows] == [None, "cancelled", None]
    file = {"file": ("c.txt", b"The third porter has key 3.", "text/plain")}
    assert refusal(mary.post(f"{address}/files/{batch['files'][2]}", files=file)) == (409, "cancelled")
    assert refusal(mary.post(f"{address}/files", json={"files": []})) == (409, "cancelled")
    assert refusal(mary.post(f"{address}/resume")) == (409, "cancelled")


def test_an_upload_is_its_sender_s_own(
    mary: httpx.Client, bob: httpx.Client, charlie: httpx.Client, matter: str
) -> None:
    grant = {"user": "bob", "role": "contributor"}
    assert mary.post(f"/api/v1/collections/{matter}/grants", json=grant).status_code == 201
    batch = _start(mary, matter, "a.txt")
    address = f"/api/v1/batches/{batch['id']}"
    file = {"file": ("a.txt", b"x", "text/plain")}
    for stranger in (bob, charlie):
        for place in (address, f"{address}/files"):
            assert refusal(stranger.get(place)) == (404, "not_found")
        for act in ("pause", "resume", "cancel", "retry"):
            assert refusal(stranger.post(f"{address}/{act}")) == (404, "not_found")
        assert refusal(stranger.post(f"{address}/files", json={"files": []})) == (404, "not_found")
        assert refusal(stranger.post(f"{address}/files/{batch['files'][0]}", files=file)) == (404, "not_found")
        assert stranger.get("/api/v1/batches").json() == []
    refused = charlie.post("/api/v1/batches", json={"collection": matter, "files": []})
    assert refusal(refused) == (404, "not_found")
    wrong = {"collection": matter, "files": [{"path": " ", "size_bytes": 1}]}
    assert refusal(mary.post("/api/v1/batches", json=wrong)) == (400, "invalid_request")
    assert refusal(mary.post(f"{address}/files/{batch['files'][0]}")) == (400, "invalid_request")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two notes of one name, a torn PDF and a hidden file, below one folder."""
    for folder in ("north", "south"):
        (tmp_path / "box" / folder).mkdir(parents=True)
        (tmp_path / "box" / folder / "note.txt").write_text(f"The {folder} porter of {tmp_path.name} has a key.")
    (tmp_path / "box" / "torn.pdf").write_bytes(b"%PDF-1.7 then nothing")
    (tmp_path / "box" / ".hidden").write_text("not this")
    return tmp_path / "box"


def test_a_folder_is_taken_in_and_looked_after_from_the_machine(desk: Desk, tree: Path) -> None:
    manage = desk.room.manage  # type: ignore[attr-defined]
    name = f"Box {uuid.uuid4()}"
    taken = manage("ingest", str(tree), "--collection", name, "--create", "--wait", check=False)
    assert [(row["path"], row["status"]) for row in taken["documents"]] == [
        (str(tree / "north/note.txt"), "ready"),
        (str(tree / "south/note.txt"), "ready"),
        (str(tree / "torn.pdf"), "failed"),
    ]
    assert (taken["total"], taken["refused"], taken["states"]["ready"]) == (3, 0, 2)
    names = Document.objects.filter(collection__name=name).values_list("filename", flat=True)
    assert sorted(names) == ["north/note.txt", "south/note.txt", "torn.pdf"]
    upload = taken["upload"]
    assert manage("ingest", "--pause", upload, check=False)["paused"]
    assert not manage("ingest", "--resume", upload, check=False)["paused"]
    again = manage("ingest", "--retry-failed", upload, "--wait", check=False)
    assert [row["error"] and row["error"]["code"] for row in again["documents"]] == [None, None, "damaged"]
    cancelled = manage("ingest", "--cancel", upload, check=False)
    assert cancelled.get("cancelled"), cancelled
    retried = manage("ingest", "--retry-all", name, "--wait", check=False)
    assert retried["retried"] == 1
    one = manage("ingest", "--retry", taken["documents"][2]["document"], "--wait", check=False)
    assert one["documents"][0]["error"]["code"] == "damaged"
    apart = manage("ingest", str(tree / "north"), str(tree / "south"), "--collection", name, "--wait")
    assert [row["version"] for row in apart["documents"]] == [1, 1]  # the same bytes: nothing is new
    for wrong, code in ((("--show", str(uuid.uuid4())), "upload_not_found"), (("--retry", "x"), "document_not_found")):
        assert manage("ingest", *wrong, check=False)["error"]["code"] == code
    assert manage("ingest", check=False)["error"]["code"] == "bad_request"
