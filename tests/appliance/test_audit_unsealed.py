"""The sealer stands still: what asks or changes is refused after a while, reading goes on, and it all comes back."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from appliance_desk import Desk, until
from django.test import Client as DjangoClient
from django.test import override_settings

from appliance.audit.standing import recent_standing, standing


@pytest.fixture
def stopped_sealer(desk: Desk) -> Iterator[None]:
    """The process is stopped, and goes on at the end whatever happened."""
    desk.room.stack.kill("sealer", signal.SIGSTOP)
    yield
    desk.room.stack.kill("sealer", signal.SIGCONT)


def test_without_a_seal_nothing_is_asked_or_changed_and_what_is_there_is_read(desk: Desk, stopped_sealer: None) -> None:
    client = DjangoClient(SERVER_NAME="127.0.0.1")
    headers = {"Authorization": f"Bearer {desk.token('mary')}"}

    def refused(address: str) -> bool:
        sent = client.post(address, {}, content_type="application/json", headers=headers)
        return sent.status_code == 503 and sent.json()["error"]["code"] == "audit_unsealed"

    def find() -> int:
        query = {"query": "anything"}
        found = client.post("/api/v1/search", query, content_type="application/json", headers=headers)
        return int(found.status_code)

    with override_settings(SEAL_READ_ONLY_AFTER_S=1.0):
        assert find() == 200  # an event that now waits
        until(lambda: standing().behind_s > 1.0)
        until(lambda: recent_standing().is_read_only)
        assert all(refused(address) for address in ("/api/v1/collections", "/api/v1/documents", "/v1/chat/completions"))
        assert client.post("/chat/ask", {"text": "What?"}).status_code == 503
        assert find() == client.get("/api/v1/collections", headers=headers).status_code == 200
        assert client.get("/sign-in").status_code == 200
        signed_in = client.post("/sign-in", {"username": "mary", "password": desk.room.passwords["mary"]})
        assert signed_in.status_code == 302
        desk.room.stack.kill("sealer", signal.SIGCONT)
        until(lambda: standing().behind_s == 0)
        until(lambda: not recent_standing().is_read_only)
        assert not refused("/api/v1/collections") and not refused("/v1/chat/completions")


def test_a_late_seal_is_said_before_it_stops_anything(desk: Desk, stopped_sealer: None) -> None:
    desk.room.browser_session("alice").close()
    found = until(lambda: now if (now := standing()).behind_s > 0 else None)
    assert not found.is_late and not found.is_read_only and found.sealed_size
