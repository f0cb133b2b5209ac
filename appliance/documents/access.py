"""The only read path to collections, documents and versions. What may not be seen is not there: NotFound."""

from __future__ import annotations

import uuid
from collections.abc import Collection as Some
from collections.abc import Sequence

from django.db import connection
from django.db.models import QuerySet

from appliance.accounts.models import User
from appliance.documents.grants.refusals import note_refusal
from appliance.documents.models import Collection, Document, DocumentVersion
from appliance.lib.errors import NotFound


def as_uuid(value: uuid.UUID | str, *, code: str = "") -> uuid.UUID:
    """The id, or NotFound (with `code`): an ill-formed id names nothing."""
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise NotFound(code=code) from None


def collections_for(user: User, role: str = "reader") -> QuerySet[Collection]:
    """Collections on which `user` has at least `role` (reader, contributor, manager), by name."""
    return Collection.objects.visible_to(user, role=role).order_by("name")


def documents_for(user: User) -> QuerySet[Document]:
    """Documents `user` may read now, by title."""
    return Document.objects.visible_to(user).order_by("title", "id")


def access_collection(user: User, collection_id: uuid.UUID | str, role: str = "reader") -> Collection:
    """One collection on which `user` has at least `role`. Raises NotFound."""
    pk = as_uuid(collection_id)
    found = collections_for(user, role).filter(pk=pk).first()
    if found is None:
        note_refusal(user, collection_id=pk)
        raise NotFound()
    return found


def named_collections(user: User, collection_ids: Sequence[uuid.UUID | str]) -> QuerySet[Collection]:
    """The collections with these ids, by name. Raises NotFound (`collection_not_found`) for one out of sight."""
    wanted = {as_uuid(collection_id, code="collection_not_found") for collection_id in collection_ids}
    chosen = collections_for(user).filter(pk__in=wanted)
    missing = wanted - set(chosen.values_list("pk", flat=True))
    for pk in missing:
        note_refusal(user, collection_id=pk)
    if missing:
        raise NotFound("One of the collections is not there.", code="collection_not_found")
    return chosen


def access_document(user: User, document_id: uuid.UUID | str) -> Document:
    """One document `user` may read. Raises NotFound."""
    pk = as_uuid(document_id)
    found = documents_for(user).select_related("collection", "current_version", "created_by").filter(pk=pk).first()
    if found is None:
        note_refusal(user, document_id=pk)
        raise NotFound()
    return found


def access_version(user: User, document_id: uuid.UUID | str, n: int) -> DocumentVersion:
    """Version `n` of a document `user` may read. Raises NotFound."""
    document = access_document(user, document_id)
    version = document.versions.filter(n=n).first()
    if version is None:
        raise NotFound()
    version.document = document
    return version


def titles_for_review(document_ids: Some[uuid.UUID]) -> dict[str, str]:
    """What documents are called, by id, for a compliance officer who may read none of them; to others, nothing.

    The database decides who that is: by the principal, not by the caller.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, title FROM reading_room_titles(%s::uuid[])", [list(document_ids)])
        return {str(pk): title for pk, title in cursor.fetchall()}
