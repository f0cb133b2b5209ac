"""What the tests of the appliance share: waiting, uploading, counting rows and files, reading the audit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import psycopg

from appliance.lib.principal import acting_as

T = TypeVar("T")

#: The extractive engine answers it from a contract that alice may read; bob and charlie may not.
QUESTION = "Under the original Facilities Services Agreement with Halvern, how often must ward areas be cleaned?"
ANSWER_QUOTE = (
    "3.2 Clinical Areas shall be cleaned at least twice in every twenty-four hours, and within forty-five minutes of "
    "a request for an enhanced clean after a patient with a known infection has been discharged."
)


class Room(Protocol):
    """The running appliance, as tests/conftest.py gives it."""

    stack: Any
    passwords: dict[str, str]
    url: str
    environment: dict[str, str]

    def browser_session(self, username: str) -> httpx.Client: ...


@dataclass
class Desk:
    """Who works with the appliance in the tests. Clients are made once and closed at the end."""

    room: Room
    stack: ExitStack
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    def token(self, username: str) -> str:
        """A fresh API token, issued inside this process: starting a command for each would take seconds."""
        from appliance.accounts.actions import do_issue_token
        from appliance.ops.commands import COMMAND

        return do_issue_token(username, name="test", days=1, actor=COMMAND)[1]

    def client(self, username: str) -> httpx.Client:
        """A client that sends a token of the person."""
        if username not in self._clients:
            client = httpx.Client(
                base_url=self.room.url,
                headers={"Authorization": f"Bearer {self.token(username)}"},
                timeout=60,
                trust_env=False,
            )
            self._clients[username] = self.stack.enter_context(client)
        return self._clients[username]

    def anonymous(self) -> httpx.Client:
        """A client that nobody is signed in with."""
        return httpx.Client(base_url=self.room.url, timeout=60, trust_env=False)


def until(check: Callable[[], T], *, timeout_s: float = 90.0, every_s: float = 0.1) -> T:
    """The first true result of `check`; fails with its last one when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not (result := check()):
        assert time.monotonic() < deadline, f"still {result!r} after {timeout_s:g} s"
        time.sleep(every_s)
    return result


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error of /api/v1 or /v1; the rest of its shape is checked on the way."""
    error = response.json()["error"]
    keys = {"code", "message", "hint", "request_id"}
    if response.url.path.startswith("/v1/"):
        keys = {"message", "type", "code", "param"}
    assert set(error) == keys, error
    assert error["message"] and "Traceback" not in response.text
    return response.status_code, str(error["code"])


def upload(
    client: httpx.Client, collection: str, name: str, content: bytes, media_type: str = "text/plain"
) -> httpx.Response:
    """Sends a file to a collection."""
    file = {"file": (name, content, media_type)}
    return client.post("/api/v1/documents", data={"collection": collection}, files=file)


def finished(client: httpx.Client, document: str, *, n: int | None = None, timeout_s: float = 90.0) -> dict[str, Any]:
    """The document once its newest version (number `n`, if given) is ready, failed or quarantined."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/api/v1/documents/{document}").json()
        ended = found["status"] in ("ready", "failed", "quarantined")
        return found if ended and n in (None, found["versions"][0]["n"]) else None

    found = until(look, timeout_s=timeout_s)
    assert found is not None
    return found


def added(client: httpx.Client, collection: str, name: str, content: bytes) -> str:
    """Uploads a file that can be read and waits for it; returns the document's id."""
    sent = upload(client, collection, name, content)
    assert sent.status_code == 202, sent.text
    document = str(sent.json()["id"])
    found = finished(client, document)
    assert found["status"] == "ready", found
    return document


def search(client: httpx.Client, query: str, *collections: str, k: int = 10) -> dict[str, Any]:
    """What a search answers."""
    response = client.post("/api/v1/search", json={"query": query, "collections": collections, "k": k})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def blob_files(room: Room) -> set[Path]:
    """Every file below the appliance's blobs and uploads: drafts too."""
    data_dir = Path(room.environment["APPLIANCE_DATA_DIR"])
    return {path for folder in ("blobs", "uploads") for path in (data_dir / folder).rglob("*") if path.is_file()}


_CONTENT_TABLES = (
    *("documents_collection", "documents_document", "documents_documentversion", "documents_grant"),
    *("chat_conversation", "chat_message", "chat_citation", "accounts_user", "accounts_apitoken"),
)


def row_counts() -> dict[str, int]:
    """How many rows each table of content holds."""
    from django.db import connection

    counts = {}
    with connection.cursor() as cursor:
        for table in _CONTENT_TABLES:
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts[table] = int(cursor.fetchone()[0])
    return counts


def chats_of(username: str) -> AbstractContextManager[None]:
    """Inside, this process sees that person's conversations: as a worker it sees nobody's."""
    from appliance.accounts.models import User

    return acting_as(User.objects.get(username=username).pk)


@contextmanager
def as_owner(room: Room) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the role that owns the tables."""
    with psycopg.connect(room.environment["APPLIANCE_DATABASE_OWNER_URL"], autocommit=True) as connection:
        yield connection


def last_event_id() -> int:
    """The newest audit event's key: what is read after it is new."""
    from appliance.audit.models import AuditEvent

    newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first()
    return newest or 0


def evidence_since(before: int, **conditions: Any) -> list[dict[str, Any]]:
    """The canonical content of the events after `before`, oldest first."""
    from appliance.audit.models import AuditEvent

    events = AuditEvent.objects.filter(pk__gt=before, **conditions).order_by("pk")
    return [json.loads(bytes(event.canonical)) for event in events]


def _nothing_is_under_way() -> bool:
    """Whether the workers are done with what earlier tests left: their rows would count as changes."""
    from appliance.chat.models import Message
    from appliance.documents.models import UNFINISHED, DocumentVersion

    waiting = DocumentVersion.objects.filter(status__in=UNFINISHED).exists()
    return not waiting and not Message.objects.filter(status__in=("pending", "writing")).exists()


@contextmanager
def nothing_changes(room: Room, client: httpx.Client) -> Iterator[None]:
    """Afterwards every row and file is as before, and the next request of `client` is answered."""
    until(_nothing_is_under_way)
    rows, files = row_counts(), blob_files(room)
    yield
    assert row_counts() == rows
    assert blob_files(room) == files
    assert client.get("/api/v1/collections").status_code == 200
