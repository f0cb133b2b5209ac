"""The second lock: what the database gives the application's role, with every filter of ours taken away."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from appliance_desk import QUESTION, Room
from django.db import connection, transaction
from django.db.utils import DatabaseError

from appliance.accounts.models import User
from appliance.chat.models import Conversation, Message
from appliance.documents import search as searching
from appliance.documents.access import titles_for_review
from appliance.documents.models import Chunk, Collection, Document, DocumentVersion, Grant, VersionText
from appliance.lib.principal import acting_as, current_principal

pytestmark = pytest.mark.usefixtures("django_room")

LOCKED = (
    "documents_document",
    "documents_documentversion",
    "documents_versiontext",
    "documents_versionpage",
    "documents_ingeststep",
    "documents_chunk",
    "documents_chunkembedding",
    "documents_posting",
    "documents_nameterm",
    "chat_conversation",
    "chat_conversation_collections",
    "chat_message",
    "chat_citation",
    "audit_content",
    "audit_reveal",
)


@contextmanager
def application(room: Room) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the web process has it."""
    with psycopg.connect(room.environment["APPLIANCE_DATABASE_URL"], autocommit=True) as direct:
        yield direct


def count(direct: psycopg.Connection[Any], table: str) -> int:
    row = direct.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[arg-type,unused-ignore]
    assert row is not None
    return int(row[0])


@pytest.fixture(scope="module")
def asked(django_room: Room) -> str:
    """A conversation of alice's, so that there is something to hide in the chat."""
    alice = User.objects.get(username="alice")
    with acting_as(alice.pk), transaction.atomic():
        conversation = Conversation.objects.create(owner=alice, title="Private")
        conversation.collections.set(Collection.objects.filter(name="Contracts"))
        Message.objects.create(conversation=conversation, ordinal=1, role="user", text="A private question")
    return str(conversation.pk)


@pytest.mark.parametrize("table", LOCKED)
def test_without_a_principal_the_application_sees_no_row(django_room: Room, asked: str, table: str) -> None:
    with application(django_room) as direct:
        assert count(direct, table) == 0


@pytest.mark.parametrize("table", LOCKED)
def test_security_is_forced_on_the_owner_too(django_room: Room, table: str) -> None:
    with application(django_room) as direct:
        row = direct.execute(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", [table]
        ).fetchone()
    assert row == (True, True)


@pytest.mark.parametrize("forged", ["00000000-0000-0000-0000-000000000000", "", "not a person", "' OR true --"])
def test_a_forged_principal_opens_nothing(django_room: Room, asked: str, forged: str) -> None:
    with application(django_room) as direct:
        direct.execute("SELECT set_config('reading_room.principal', %s, false)", [forged])
        assert count(direct, "documents_document") == 0
        assert count(direct, "documents_chunk") == 0
        try:
            assert count(direct, "chat_message") == 0
        except psycopg.DataError:  # no id at all: the statement fails, which shows nothing either
            assert forged not in ("", "00000000-0000-0000-0000-000000000000")


def test_what_is_entered_ends_with_its_transaction(django_room: Room) -> None:
    alice = User.objects.get(username="alice")
    with application(django_room) as direct:
        with direct.transaction():
            direct.execute("SELECT reading_room_enter(%s)", [alice.pk])
            assert count(direct, "documents_document") > 0
        assert count(direct, "documents_document") == 0
        with pytest.raises(ZeroDivisionError), direct.transaction():
            direct.execute("SELECT reading_room_enter(%s)", [alice.pk])
            raise ZeroDivisionError
        assert count(direct, "documents_chunk") == 0


def test_a_block_ends_for_whom_it_began_and_a_rolled_back_part_does_not_confuse_it() -> None:
    alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")

    def seen() -> set[uuid.UUID]:
        return set(Document.objects.values_list("collection_id", flat=True))

    with acting_as(alice.pk):
        hers = seen()
    with acting_as(bob.pk):
        his = seen()
    assert hers and his and hers != his
    with transaction.atomic(), acting_as(alice.pk):
        assert seen() == hers
        with acting_as(bob.pk):
            assert seen() == his
        assert seen() == hers
        try:
            with transaction.atomic(), acting_as(bob.pk):
                assert seen() == his
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert seen() == hers
    assert current_principal() is None
    assert seen() >= hers | his  # this process is a worker: for nobody in particular it sees everything


def test_search_without_its_own_filter_still_finds_nothing_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    bob = User.objects.get(username="bob")
    honest = {p.document_id for p in searching.search(bob, QUESTION, k=50).passages}
    monkeypatch.setattr(searching, "documents_for", lambda user: Document.objects.all())
    monkeypatch.setattr(searching, "collections_for", lambda user: Collection.objects.all())
    open_wide = {p.document_id for p in searching.search(bob, QUESTION, k=50).passages}
    assert open_wide - honest, "without either lock something else would have been found"
    with acting_as(bob.pk):
        locked = {p.document_id for p in searching.search(bob, QUESTION, k=50).passages}
        allowed = set(Document.objects.visible_to(bob).values_list("pk", flat=True))
    assert locked and locked <= allowed


def test_a_reader_can_neither_add_nor_change_nor_remove() -> None:
    with transaction.atomic():
        reader = User.objects.create(username=f"reader-{uuid.uuid4().hex[:8]}")
        policies = Collection.objects.get(name="Policies")
        Grant.objects.create(user=reader, collection=policies)
        with acting_as(reader.pk):
            readable = Document.objects.filter(collection=policies).first()
            assert readable is not None
            assert Document.objects.filter(pk=readable.pk).update(title="Changed") == 0
            assert Document.objects.filter(pk=readable.pk)._raw_delete(using="default") == 0
            with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
                Document.objects.create(collection=policies, filename="x.txt", title="x", wrapped_key=b"")
        assert Document.objects.get(pk=readable.pk).title != "Changed"
        transaction.set_rollback(True)


def test_one_persons_conversations_are_nobody_elses(asked: str) -> None:
    alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")
    with acting_as(alice.pk):
        assert Message.objects.filter(conversation_id=asked).count() == 1
    with acting_as(bob.pk):
        assert not Conversation.objects.filter(pk=asked).exists()
        assert not Message.objects.filter(conversation_id=asked).exists()
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            Message.objects.create(conversation_id=asked, ordinal=2, role="user", text="Mine now")
    # The workers close what nobody finished, and see nothing else of a conversation.
    assert not Message.objects.filter(conversation_id=asked).exists()


def test_titles_are_told_to_a_compliance_officer_who_sees_no_document() -> None:
    cora, bob = User.objects.get(username="cora"), User.objects.get(username="bob")
    document = Document.objects.filter(collection__name="Contracts").first()
    assert document is not None
    with acting_as(cora.pk):
        assert not Document.objects.exists()
        assert not VersionText.objects.exists()
        assert titles_for_review([document.pk]) == {str(document.pk): document.title}
    with acting_as(bob.pk):
        assert titles_for_review([document.pk]) == {}


def test_a_long_read_through_a_cursor_is_under_the_principal_too() -> None:
    bob = User.objects.get(username="bob")
    with acting_as(bob.pk):
        streamed = {chunk.version_id for chunk in Chunk.objects.iterator(chunk_size=5)}
        assert streamed == set(DocumentVersion.objects.filter(chunks__isnull=False).values_list("pk", flat=True))
    everything = set(Chunk.objects.values_list("version_id", flat=True))
    assert streamed < everything
    assert not connection.in_atomic_block
