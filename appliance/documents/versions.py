"""A document through its versions: adding one by hand, going back to an earlier one, reading a failed one again."""

from __future__ import annotations

import uuid
from pathlib import PurePath
from typing import BinaryIO

from django.core.files import File
from django.db import transaction
from django.db.models import Max, OuterRef, Subquery

from appliance.accounts.models import User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.documents import actions, antivirus, passwords, queue
from appliance.documents.access import access_document, access_version, as_uuid, collections_for, documents_for
from appliance.documents.models import Collection, Document, DocumentVersion, IngestStep, VersionStatus
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


def do_retry(
    document_id: uuid.UUID | str, n: int, *, password: str | None = None, acting_user: User | None, actor: Actor
) -> DocumentVersion:
    """Reads a version again that failed or was set aside, with a password if it needs one. Needs a contributor's grant;
    `acting_user` None is a command run on the machine itself.

    The password is sealed until that reading has ended. Raises NotFound; Conflict (`not_failed`, or `not_locked` for a
    password that is not wanted); BadRequest (`no_password`) for an empty one.
    """
    version = _retried(acting_user, document_id, n)
    sealed = None if password is None else _sealed(version, password)
    antivirus.check_may_be_read_again(version)
    with transaction.atomic():
        changed = DocumentVersion.objects.filter(pk=version.pk, status__in=ENDED_BADLY).update(
            status=VersionStatus.QUEUED,
            attempts=0,
            error_code="",
            error_reason="",
            error_hint="",
            lease_until=None,
            sealed_password=sealed,
        )
        if not changed:
            raise Conflict("Only a version that could not be read can be read again.", code="not_failed")
        detail: dict[str, str | bool] = {"code": version.error_code}
        if sealed is not None:
            detail["password_given"] = True
        IngestStep.objects.create(version=version, step="retried", detail=detail)
        entity = Entity("document", str(version.document_id), version=n)
        record(Event(EventType.UPLOAD, "document.retry", entities=(entity,), detail=detail), actor=actor)
        transaction.on_commit(lambda: queue.enqueue(version.pk))
    version.refresh_from_db()
    return version


def _retried(user: User | None, document_id: uuid.UUID | str, n: int) -> DocumentVersion:
    if user is not None:
        _changeable(user, document_id)
        return access_version(user, document_id, n)
    found = DocumentVersion.objects.filter(document=as_uuid(document_id), n=n).select_related("document").first()
    if found is None:
        raise NotFound()
    return found


def _sealed(version: DocumentVersion, password: str) -> bytes | None:
    if not password:
        raise BadRequest("No password was given.", hint="Type the password that opens the file.", code="no_password")
    if len(password) > passwords.MAX_CHARS:
        raise BadRequest(f"A password has at most {passwords.MAX_CHARS} characters.", code="invalid_request")
    if not version.wants_password:
        raise Conflict(
            "This version does not wait for a password.",
            hint="Only a file that could not be opened without one takes it.",
            code="not_locked",
        )
    return passwords.seal(password, wrapped_key=bytes(version.document.wrapped_key), blob_key=version.blob_key)


def do_retry_failed(collection: Collection, *, acting_user: User | None, actor: Actor) -> int:
    """Reads every document of a collection again whose newest version could not be read. Returns how many.

    Only documents that `acting_user` may read, in a collection they may add to; others are as if they were not there.
    """
    documents = Document.objects.all() if acting_user is None else documents_for(acting_user)
    newest = DocumentVersion.objects.filter(document=OuterRef("pk")).order_by("-n")
    failed = (
        documents.filter(collection=collection)
        .annotate(latest_status=Subquery(newest.values("status")[:1]), latest_n=Subquery(newest.values("n")[:1]))
        .filter(latest_status__in=ENDED_BADLY)
    )
    retried = 0
    for document_id, n in list(failed.values_list("pk", "latest_n")):
        try:
            do_retry(document_id, n, acting_user=acting_user, actor=actor)
        except (NotFound, Conflict):  # gone, no longer failed, or not to be opened: nothing to do for this one
            continue
        retried += 1
    return retried
