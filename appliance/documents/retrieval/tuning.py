"""How a collection is indexed: the language its words are stemmed in, and how its passages are cut."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from appliance.accounts.models import User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.documents import reindexing
from appliance.documents.access import access_collection
from appliance.documents.models import ChunkTemplate, Collection, DocumentVersion, VersionStatus
from appliance.lib.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Progress:
    """How many read versions of a collection are indexed as it says now, of how many."""

    done: int
    of: int

    @property
    def is_over(self) -> bool:
        return self.done >= self.of


def languages() -> list[str]:
    """The text search configurations of this database, by name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT cfgname FROM pg_ts_config ORDER BY cfgname")
        return [name for (name,) in cursor.fetchall()]


def do_set_retrieval(
    collection_id: uuid.UUID | str,
    *,
    language: str | None = None,
    chunk_template: str | None = None,
    acting_user: User,
    actor: Actor,
) -> Collection:
    """Changes how a collection is indexed; None leaves a setting as it is. Its documents follow in the background.

    Until a document has been indexed again it is found by its old index. Needs a manager's grant. Raises BadRequest
    (`unknown_language`, `unknown_template`).
    """
    collection = access_collection(acting_user, collection_id, role="manager")
    if language is not None and language not in languages():
        raise BadRequest("That language is not known to the database.", code="unknown_language")
    if chunk_template is not None and chunk_template not in ChunkTemplate.values:
        raise BadRequest(f"A chunk template is one of {', '.join(ChunkTemplate.values)}.", code="unknown_template")
    with transaction.atomic():
        collection = Collection.objects.select_for_update().get(pk=collection.pk)
        wanted = {"language": language, "chunk_template": chunk_template}
        changes: dict[str, Any] = {
            name: value for name, value in wanted.items() if value is not None and value != getattr(collection, name)
        }
        for name, value in changes.items():
            detail = {"setting": name, "from": getattr(collection, name), "to": value}
            entities = (Entity("collection", str(collection.pk)),)
            record(Event(EventType.SETTING, "collection.retrieval", entities=entities, detail=detail), actor=actor)
            setattr(collection, name, value)
        if changes:
            collection.save(update_fields=list(changes))
            transaction.on_commit(reindexing.enqueue)
    return collection


def progress(collection: Collection) -> Progress:
    """How far its documents are."""
    of = DocumentVersion.objects.filter(document__collection=collection, status=VersionStatus.READY).count()
    return Progress(of - reindexing.stale(collection).order_by().count(), of)
