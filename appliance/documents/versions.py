"""A document through its versions: adding one by hand, going back to an earlier one, reading a failed one again."""

from __future__ import annotations

import uuid
from pathlib import PurePath
from typing import BinaryIO

from django.core.files import File
from django.db import transaction
from django.db.models import Max

from appliance.accounts.models import User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.documents import actions, antivirus, queue
from appliance.documents.access import access_document, access_version, collections_for
from appliance.documents.models import Document, DocumentVersion, IngestStep, VersionStatus
from appliance.lib.errors import BadRequest, Conflict, NotFound

ENDED_BADLY = (VersionStatus.FAILED, VersionStatus.QUARANTINED)


def may_add(user: User, document: Document) -> bool:
    """Whether `user` may change which version of the document is in use."""
    return collections_for(user, "contributor").filter(pk=document.collection_id).exists()


def _changeable(user: User, document_id: uuid.UUID | str) -> Document:
    document = access_document(user, document_id)
    if not may_add(user, document):
        raise NotFound()
    return document


def do_add_version(
    document_id: uuid.UUID | str, *, filename: str, file: File[bytes] | BinaryIO, acting_user: User, actor: Actor
) -> DocumentVersion:
    """Takes other bytes in as the next version of a document, whatever the file that holds them is called.

    Needs a contributor's grant. Raises what `do_upload` raises; Conflict when the bytes are here already, or the
    document came out of an archive or e-mail; BadRequest when the file is of another type than the document.
    """
    document = _changeable(acting_user, document_id)
    if document.parent_id is not None:
        raise Conflict(
            "This document came out of another file.", hint="Add a new version of that file.", code="part_of_a_file"
        )
    kind, given = PurePath(document.filename).suffix.lower(), PurePath(filename).suffix.lower()
    if kind != given:
        raise BadRequest(
            f"{PurePath(filename).name or 'The file'} is not a {kind[1:] or 'plain'} file like this document.",
            hint="Send a version of the same type, or add the file to the collection as a document of its own.",
            code="other_type",
        )
    newest = document.versions.order_by("-n").values_list("n", flat=True).first() or 0
    version = actions.do_upload(
        collection=document.collection, filename=document.filename, file=file, acting_user=acting_user, actor=actor
    )
    if version.document_id != document.pk or version.n <= newest:
        raise Conflict(
            "These very bytes are in the collection already.",
            hint="Make the version that has them current, if that is what you want.",
            code="same_bytes",
        )
    return version


def do_make_current(document_id: uuid.UUID | str, n: int, *, acting_user: User, actor: Actor) -> DocumentVersion:
    """Answers and searches use version `n` from now on; the others stay, and stay citable. Needs a contributor's grant.

    The choice holds until a version is added after it: one that is still being read now does not take the place later.
    Raises NotFound, or Conflict (`not_ready`) for a version that was never read.
    """
    _changeable(acting_user, document_id)
    version = access_version(acting_user, document_id, n)
    if version.status != VersionStatus.READY:
        raise Conflict(f"Version {n} cannot be used: it has not been read.", code="not_ready")
    with transaction.atomic():
        document = Document.objects.select_for_update().get(pk=version.document_id)
        newest = document.versions.aggregate(last=Max("n"))["last"]
        if document.current_version_id == version.pk and document.newest_when_chosen == newest:
            return version
        before = document.current_version.n if document.current_version else 0
        title = (version.title or document.title)[:300]
        Document.objects.filter(pk=document.pk).update(current_version=version, title=title, newest_when_chosen=newest)
        entity = Entity("document", str(document.pk), version=n)
        detail = {"before": before, "now": n}
        record(Event(EventType.SETTING, "document.make_current", entities=(entity,), detail=detail), actor=actor)
    version.refresh_from_db()
    return version


def do_retry(document_id: uuid.UUID | str, n: int, *, acting_user: User, actor: Actor) -> DocumentVersion:
    """Reads a version again that failed or was set aside. Needs a contributor's grant; raises NotFound or Conflict."""
    _changeable(acting_user, document_id)
    version = access_version(acting_user, document_id, n)
    antivirus.check_may_be_read_again(version)
    with transaction.atomic():
        changed = DocumentVersion.objects.filter(pk=version.pk, status__in=ENDED_BADLY).update(
            status=VersionStatus.QUEUED, attempts=0, error_code="", error_reason="", error_hint="", lease_until=None
        )
        if not changed:
            raise Conflict("Only a version that could not be read can be read again.", code="not_failed")
        IngestStep.objects.create(version=version, step="retried", detail={"code": version.error_code})
        entity = Entity("document", str(version.document_id), version=n)
        detail = {"code": version.error_code}
        record(Event(EventType.UPLOAD, "document.retry", entities=(entity,), detail=detail), actor=actor)
        transaction.on_commit(lambda: queue.enqueue(version.pk))
    version.refresh_from_db()
    return version
