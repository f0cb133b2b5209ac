"""The newest checkpoint leaves by an officer's hand: on the screen, and as a file for a stick."""

from __future__ import annotations

import html
import re

import httpx
from access_forms import signed_in
from appliance_desk import Desk, evidence_since, last_event_id

from appliance.audit import verifier
from appliance.audit.models import Checkpoint, Delivery, SealKey
from appliance.audit.notes import Checkpoint as Head
from appliance.audit.notes import Note, PublicKey


def test_a_checkpoint_is_shown_and_saved_and_both_count_as_delivered(desk: Desk) -> None:
    first_key = PublicKey.parse(SealKey.objects.order_by("pk").values_list("public_key", flat=True)[0])
    before, delivered = last_event_id(), Delivery.objects.count()
    with signed_in(desk, "cora") as officer:
        page = officer.get("/audit/seal/checkpoint")
        assert page.status_code == 200 and "<svg" in page.text and str(first_key) in html.unescape(page.text)
        shown = re.search(r"<pre[^>]*>(.*?)</pre>", page.text, re.DOTALL)
        assert shown is not None
        on_screen = Note.parse(html.unescape(shown[1]))
        saved = officer.get("/audit/seal/checkpoint/file")
    note = Note.parse(saved.text)
    head = Head.parse(note.text)
    assert saved.headers["Content-Disposition"] == f'attachment; filename="checkpoint-{head.size}.txt"'
    for each in (on_screen, note):
        assert each.signed_by(first_key)
        assert Checkpoint.objects.filter(note=str(each)).exists()
    events = evidence_since(before, action="audit.checkpoint")
    assert [event["detail"]["channel"] for event in events] == ["screen", "download"]
    assert [event["agent"]["name"] for event in events] == ["cora", "cora"]
    rows = Delivery.objects.filter(channel__in=("screen", "download")).order_by("-pk")[:2]
    assert {row.target for row in rows} == {events[0]["agent"]["user"]} and Delivery.objects.count() >= delivered + 2
    assert verifier.notes_in(saved.text) == [saved.text]  # what the verifier takes with --checkpoint


def test_others_have_no_such_page(desk: Desk, alice: httpx.Client) -> None:
    with signed_in(desk, "alice") as reader, signed_in(desk, "root") as administrator:
        for address in ("/audit/seal/checkpoint", "/audit/seal/checkpoint/file"):
            assert reader.get(address).status_code == administrator.get(address).status_code == 404
