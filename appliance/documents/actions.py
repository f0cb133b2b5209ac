"""What can be done to collections and documents. Each change and its audit event commit together."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePath
from typing import BinaryIO, cast

from django.conf import settings
from django.core.files import File
from django.db import IntegrityError, transaction
from django.db.models import Max

from appliance.accounts.models import Group, Role, User
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import SYSTEM, Actor, Entity, Event, record
from appliance.documents import antivirus, blobs, children, passwords, queue
from appliance.documents.access import access_document, access_version
from appliance.documents.models import (
    Classification,
    Collection,
    Document,
    DocumentVersion,
    Effect,
    Grant,
    GrantRole,
    VersionStatus,
)
from appliance.lib import crypto
from appliance.lib.errors import BadRequest, Conflict, NotFound, UnsupportedType
from appliance.lib.text import clean_name

log = logging.getLogger(__name__)

#: What ingest reads. A file's content is checked against its name when it is read.
EXTENSIONS = (
    *(".csv", ".doc", ".docx", ".eml", ".epub", ".heic", ".heif", ".htm", ".html", ".jpeg", ".jpg", ".json"),
    *(".markdown", ".md", ".msg", ".odt", ".pdf", ".png", ".ppt", ".pptx", ".rst", ".rtf", ".text", ".tif", ".tiff"),
    *(".tsv", ".txt", ".xls", ".xlsx", ".xml", ".zip"),
)


def do_create_collection(
    name: str,
    *,
    description: str = "",
    classification: str = Classification.CONFIDENTIAL,
    acting_user: User | None,
    actor: Actor,
) -> Collection:
    """Makes a collection; its maker becomes its manager. Raises Conflict for a taken name.

    `acting_user` None is a command run on the machine itself.
    """
    name = clean_name(name, limit=150)
    if not name:
        raise BadRequest("A collection needs a name.")
    if classification not in Classification.values:
        raise BadRequest(f"A classification is one of {', '.join(Classification.values)}.")
    if acting_user is not None and not acting_user.has_role(Role.COLLECTION_MANAGER):
        raise NotFound()
    try:
        with transaction.atomic():
            collection = Collection.objects.create(
                name=name, description=description, classification=classification, created_by=acting_user
            )
            record(Event(EventType.SETTING, "collection.create", entities=(_entity(collection),)), actor=actor)
            if acting_user is not None:
                do_grant(collection, user=acting_user, role=GrantRole.MANAGER, acting_user=acting_user, actor=actor)
    except IntegrityError:
        raise Conflict(f"There is a collection named {name!r} already.", code="collection_exists") from None
    return collection


def do_grant(
    target: Collection | Document,
    *,
    user: User | None = None,
    group: Group | None = None,
    role: str = GrantRole.READER,
    effect: str = Effect.ALLOW,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    reason: str = "",
    acting_user: User | None,
    actor: Actor,
) -> Grant:
    """Adds one rule for a person or a group on a collection or document."""
    if (user is None) == (group is None):
        raise BadRequest("A grant names one person or one group.")
    if role not in GrantRole.values or effect not in Effect.values:
        raise BadRequest("A grant needs a known role and effect.")
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        raise BadRequest("A grant must end after it starts.")
    on_collection = isinstance(target, Collection)
    with transaction.atomic():
        grant = Grant.objects.create(
            user=user,
            group=group,
            collection=target if isinstance(target, Collection) else None,
            document=None if isinstance(target, Collection) else target,
            role=role,
            effect=effect,
            starts_at=starts_at,
            ends_at=ends_at,
            reason=reason,
            created_by=acting_user,
        )
        principal = Entity("user", str(user.pk)) if user else Entity("group", str(group.pk if group else ""))
        entities = (Entity("collection" if on_collection else "document", str(target.pk)), principal)
        detail = {"role": str(role), "effect": str(effect), "grant": str(grant.pk)}
        record(Event(EventType.GRANT, "grant.add", entities=entities, detail=detail), actor=actor)
    return grant


def do_upload(
    *,
    collection: Collection,
    filename: str,
    file: File[bytes] | BinaryIO,
    password: str = "",
    folder: str = "",
    acting_user: User | None,
    actor: Actor,
) -> DocumentVersion:
    """Takes a file in: encrypted to disk, a version row, an event, a task. Returns the version.

    `folder` is where it lay in a tree of files: of two files of one name it tells which is which, as part of the
    document's name. `password` opens the file; it is sealed until the file has been read, and then erased.

    The same bytes in one collection are one version: sending them again returns it. Other bytes under a known name
    make a new version. The caller has checked that `acting_user` may add to `collection`.
    Raises BadRequest (`empty_file`) or UnsupportedType; too large files never get here.
    """
    filename = clean_name(PurePath(filename.replace("\\", "/")).name, limit=255)
    if folder:
        filename = clean_name(f"{folder}/{filename}"[-255:], limit=255)
    if PurePath(filename).suffix.lower() not in EXTENSIONS:
        raise UnsupportedType(
            f"{filename or 'The file'} is of a type that is not read here.",
            hint=f"Send one of {', '.join(kind[1:] for kind in EXTENSIONS)}.",
        )
    if len(password) > passwords.MAX_CHARS:
        raise BadRequest(f"A password has at most {passwords.MAX_CHARS} characters.", code="invalid_request")
    sha256, size_bytes = _digest(file)
    if size_bytes == 0:
        raise BadRequest(f"{filename} is empty.", hint="Check the file and send it again.", code="empty_file")
    known = _same_bytes(collection, sha256)
    if known is not None:
        return known
    existing = Document.objects.filter(collection=collection, filename=filename).first()
    wrapped_key = bytes(existing.wrapped_key) if existing else crypto.new_wrapped_key(settings.MASTER_KEY)
    file.seek(0)
    blob_key = blobs.write(_binary(file), wrapped_key=wrapped_key)
    try:
        with transaction.atomic():
            Collection.objects.select_for_update().get(pk=collection.pk)  # one upload at a time decides what is new
            known = _same_bytes(collection, sha256)
            if known is not None:
                blobs.remove(blob_key)
                return known
            if existing is None:
                existing = Document.objects.create(
                    collection=collection,
                    filename=filename,
                    title=PurePath(filename).stem,
                    wrapped_key=wrapped_key,
                    created_by=acting_user,
                )
            last = existing.versions.aggregate(last=Max("n"))["last"] or 0
            version = DocumentVersion.objects.create(
                document=existing,
                n=last + 1,
                sha256=sha256,
                size_bytes=size_bytes,
                blob_key=blob_key,
                sealed_password=passwords.seal(password, wrapped_key=wrapped_key, blob_key=blob_key),
                created_by=acting_user,
            )
            entities = (_version_entity(version), _entity(collection))
            detail = {"sha256": sha256, "size_bytes": size_bytes}
            record(Event(EventType.UPLOAD, "document.upload", entities=entities, detail=detail), actor=actor)
            transaction.on_commit(lambda: queue.enqueue(version.pk))
    except IntegrityError:  # the same name arrived twice at once, with other bytes
        blobs.remove(blob_key)
        raise Conflict(f"{filename} is being uploaded by someone else right now.", hint="Send it again.") from None
    except BaseException:
        blobs.remove(blob_key)
        raise
    return version


def do_download(
    *, user: User, actor: Actor, document_id: uuid.UUID | str, n: int
) -> tuple[DocumentVersion, Iterator[bytes]]:
    """The original bytes of a version, recorded before the first one leaves.

    Raises NotScanned for one that a scanner has not seen yet, or found something in.
    """
    version = access_version(user, document_id, n)
    antivirus.check_may_leave(version)
    record(Event(EventType.ACCESS, "document.download", entities=(_version_entity(version),)), actor=actor)
    return version, blobs.read(version)


def do_delete_document(document_id: uuid.UUID | str, *, acting_user: User, actor: Actor) -> None:
    """Destroys a document and those that came out of it: keys first, then rows and files. The audit of it stays.

    Needs the manager's grant on the collection; a collection under legal hold refuses.
    """
    document = access_document(acting_user, document_id)
    if not Collection.objects.visible_to(acting_user, role="manager").filter(pk=document.collection_id).exists():
        raise NotFound()
    if document.collection.legal_hold:
        raise Conflict("The collection is under legal hold, so nothing in it can be deleted.", code="legal_hold")
    with transaction.atomic():
        family = [document, *children.descendants(document)]
        blob_keys = list(DocumentVersion.objects.filter(document__in=family).values_list("blob_key", flat=True))
        entities = (*(Entity("document", str(each.pk)) for each in family), _entity(document.collection))
        record(Event(EventType.DELETE, "document.delete", entities=entities), actor=actor)
        document.delete()
    for blob_key in blob_keys:
        blobs.remove(blob_key)


def _digest(file: File[bytes] | BinaryIO) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    file.seek(0)
    while block := file.read(1024 * 1024):
        digest.update(block)
        size_bytes += len(block)
    return digest.hexdigest(), size_bytes


def _binary(file: File[bytes] | BinaryIO) -> BinaryIO:
    return cast(BinaryIO, file.file if isinstance(file, File) else file)


def _same_bytes(collection: Collection, sha256: str) -> DocumentVersion | None:
    """A version with these bytes in the collection, unless reading it failed: then sending it again tries again.

    What came out of another file does not count: it goes when that file goes.
    """
    return (
        DocumentVersion.objects.filter(document__collection=collection, document__parent=None, sha256=sha256)
        .exclude(status__in=[VersionStatus.FAILED, VersionStatus.QUARANTINED])
        .select_related("document")
        .order_by("-n")
        .first()
    )


def _entity(collection: Collection) -> Entity:
    return Entity("collection", str(collection.pk))


def _version_entity(version: DocumentVersion) -> Entity:
    return Entity("document", str(version.document_id), version=version.n)


def record_ingest(version: DocumentVersion, outcome: Outcome, **detail: str | int) -> None:
    """The end of a version's way through ingest, in the transaction that ends it."""
    event = Event(EventType.INGEST, "document.ingest", outcome, entities=(_version_entity(version),), detail=detail)
    record(event, actor=SYSTEM)
