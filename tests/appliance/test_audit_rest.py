"""The audit over REST: events with what is sealed of them, heads, and proofs that need nothing of ours to check."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from contextlib import closing
from typing import Any

import httpx
import pytest
from appliance_desk import Desk, evidence_since, last_event_id, refusal, search, until

from appliance.audit.notes import Checkpoint, Note
from appliance.audit.tree import root_from_inclusion, roots_from_consistency

ADDRESSES = ("events", "checkpoint", "proof?leaf=0", "consistency?first=1")


@pytest.fixture(scope="module")
def cora(desk: Desk) -> httpx.Client:
    return desk.client("cora")


def get(client: httpx.Client, address: str, **asked: Any) -> dict[str, Any]:
    response = client.get(f"/api/v1/audit/{address}", params=asked or None)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def decoded(path: list[str]) -> list[bytes]:
    return [base64.b64decode(each) for each in path]


def sealed_event(cora: httpx.Client, **asked: Any) -> dict[str, Any]:
    """The newest of these events, once it has its leaf."""

    def look() -> dict[str, Any] | None:
        events: list[dict[str, Any]] = get(cora, "events", **asked)["events"]
        return next((event for event in events if event["leaf"] is not None), None)

    found = until(look)
    assert found is not None
    return found


def test_an_event_is_proven_to_be_in_the_log(desk: Desk, cora: httpx.Client, alice: httpx.Client) -> None:
    search(alice, "cleaning")
    event = sealed_event(cora, person="alice", action="search.passages")
    told = json.loads(event["canonical"])
    assert told["id"] == event["id"] and told["action"] == "search.passages" and told["agent"]["name"] == "alice"
    proof = get(cora, "proof", leaf=event["leaf"])
    assert proof["leaf_hash"] == event["leaf_hash"] and proof["leaf"] == event["leaf"]
    hashed = hashlib.sha256(b"\x00" + event["canonical"].encode()).digest()
    root = root_from_inclusion(proof["leaf"], proof["size"], hashed, decoded(proof["path"]))
    note = Note.parse(proof["checkpoint"]["note"])
    head = Checkpoint.parse(note.text)
    assert (head.size, head.root) == (proof["size"], root)
    assert proof["checkpoint"]["root"] == root.hex() and proof["checkpoint"]["origin"] == head.origin


def test_a_proof_is_followed_by_hand(cora: httpx.Client) -> None:
    """With hashlib alone: at each step the place's lowest bit says on which side the neighbour stands."""
    event = sealed_event(cora)
    proof = get(cora, "proof", leaf=event["leaf"])
    place, last = proof["leaf"], proof["size"] - 1
    hashed = hashlib.sha256(b"\x00" + event["canonical"].encode()).digest()
    for neighbour in decoded(proof["path"]):
        while place == last and place % 2 == 0:
            place, last = place // 2, last // 2  # alone at the right edge: it goes up unchanged
        pair = neighbour + hashed if place % 2 else hashed + neighbour
        hashed = hashlib.sha256(b"\x01" + pair).digest()
        place, last = place // 2, last // 2
    assert last == 0
    assert hashed == base64.b64decode(proof["checkpoint"]["note"].splitlines()[2])


def test_the_log_is_proven_to_have_only_grown(cora: httpx.Client, alice: httpx.Client) -> None:
    from appliance.audit.models import Checkpoint as Head

    get(cora, "events")
    sealed_event(cora)
    first, newest = Head.objects.order_by("size")[0], get(cora, "checkpoint")
    for size in {first.size, 1, newest["size"] // 2, newest["size"]} - {0}:
        proof = get(cora, "consistency", first=size, second=newest["size"])
        old = Head.objects.filter(size=size).first()
        assert (proof["first_checkpoint"] is None) == (old is None)
        assert proof["second_checkpoint"]["note"] == newest["note"]
        if old is not None:
            roots = roots_from_consistency(size, newest["size"], bytes(old.root), decoded(proof["path"]))
            assert roots == (bytes(old.root), bytes.fromhex(newest["root"]))


def test_proofs_for_every_leaf_lead_to_the_root_of_every_head(desk: Desk, cora: httpx.Client) -> None:
    """Through full tiles and the edge, inside the process: some hundred leaves at once."""
    from appliance.audit import sealed
    from appliance.audit.models import Checkpoint as Head
    from appliance.audit.record import SYSTEM, Event, record

    before = sealed.newest_head().size
    for _ in range(max(0, 600 - before)):
        record(Event("system", "test.tick"), actor=SYSTEM)  # type: ignore[arg-type]
    until(lambda: sealed.newest_head().size >= 600)
    for head in Head.objects.order_by("-size")[:3]:
        for index in {0, 1, 255, 256, 300, 511, 512, head.size - 1} & set(range(head.size)):
            proof = sealed.include(index, head.size)
            assert root_from_inclusion(index, head.size, proof.leaf_hash, proof.path) == bytes(head.root)


def test_events_are_found_by_what_is_asked_for(desk: Desk, cora: httpx.Client, alice: httpx.Client) -> None:
    for _ in range(4):
        passage = search(alice, "cleaning")["results"][0]
    shown = get(cora, "events", document=passage["document"], type="disclosure")["events"]
    assert passage["document"] in shown[0]["canonical"]
    from appliance.accounts.models import User

    pk = str(User.objects.get(username="alice").pk)
    of_alice = get(cora, "events", person=pk, limit=4)
    assert all(json.loads(each["canonical"])["agent"]["user"] == pk for each in of_alice["events"])
    rest = get(cora, "events", person="alice", limit=4, before=of_alice["next_before"])["events"]
    ids = [each["id"] for each in of_alice["events"] + rest]
    assert len(set(ids)) == len(ids) == 8
    newest = of_alice["events"][0]["recorded_at"]
    later = get(cora, "events", person=pk, **{"from": newest})["events"]
    assert [each["id"] for each in later] == ids[:1]
    assert ids[0] not in [each["id"] for each in get(cora, "events", person=pk, to=newest)["events"]]
    assert alice.get("/api/v1/audit/checkpoint").status_code == 404
    refused = get(cora, "events", person="alice", outcome="refused")["events"]
    assert json.loads(refused[0]["canonical"])["action"] == "audit.rest"
    assert {json.loads(each["canonical"])["outcome"] for each in refused} == {"refused"}


def test_each_look_is_recorded(cora: httpx.Client) -> None:
    sealed_event(cora)
    document = str(uuid.uuid4())
    before = last_event_id()
    get(cora, "events", type="access", document=document)
    for address in ADDRESSES[1:]:
        get(cora, address)
    events = evidence_since(before, type="review")
    assert [each["action"] for each in events] == [
        *("audit.list", "audit.checkpoint", "audit.proof", "audit.consistency"),
    ]
    assert events[0]["detail"] == {"type": "access"} and events[0]["entities"] == [{"kind": "document", "id": document}]


@pytest.mark.parametrize("address", ADDRESSES)
def test_to_others_there_is_no_audit(desk: Desk, address: str) -> None:
    for name in ("alice", "root"):
        before = last_event_id()
        assert refusal(desk.client(name).get(f"/api/v1/audit/{address}")) == (404, "not_found")
        (event,) = evidence_since(before, type="refusal")
        assert (event["action"], event["outcome"]) == ("audit.rest", "refused")
    with closing(desk.anonymous()) as nobody:
        assert refusal(nobody.get(f"/api/v1/audit/{address}")) == (401, "not_signed_in")


def test_what_is_not_there_is_said(cora: httpx.Client) -> None:
    size = get(cora, "checkpoint")["size"]
    for address, expected in (
        (f"proof?leaf={size + 10_000}", (404, "leaf_not_found")),
        (f"proof?leaf=0&size={size + 10_000}", (404, "checkpoint_not_found")),
        ("proof?leaf=5&size=5", (404, "leaf_not_found")),
        ("proof?leaf=-1", (400, "invalid_request")),
        (f"proof?leaf={2**63}", (400, "invalid_request")),
        ("proof", (400, "invalid_request")),
        ("consistency?first=0", (400, "invalid_request")),
        ("consistency?first=5&second=4", (400, "invalid_request")),
        ("events?type=gossip", (400, "invalid_request")),
        ("events?person=nobody.at.all", (404, "user_not_found")),
        (f"events?before={2**62}", (400, "filter_refused")),
    ):
        assert refusal(cora.get(f"/api/v1/audit/{address}")) == expected, address


def test_what_the_appliance_recorded_is_as_it_was_sealed_in_every_column(desk: Desk, alice: httpx.Client) -> None:
    """Real events, of every kind that the tests before this one have led to."""
    passage = search(alice, "cleaning")["results"][0]
    assert alice.get(f"/api/v1/documents/{passage['document']}/versions/1/text").status_code == 200
    before = last_event_id()
    found = desk.room.manage("verify_audit", "--columns")  # type: ignore[attr-defined]
    assert found["sound"], found["findings"][:5]
    assert found["size"] == found["checked"] > 0 and found["verified_until"]
    (event,) = evidence_since(before, action="audit.verify")
    assert (event["outcome"], event["detail"]) == (
        "success",
        {"size": str(found["size"]), "sound": True, "findings": 0},
    )
