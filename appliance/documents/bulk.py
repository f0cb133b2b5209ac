"""Many files at once: a list of all of them first, so that each is accounted for whatever happens on the way."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import BinaryIO

from django.core.files import File
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from appliance.accounts.models import User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.documents import actions, queue, versions
from appliance.documents.access import as_uuid, collections_for
from appliance.documents.models import (
    UNFINISHED,
    Collection,
    DocumentVersion,
    IngestStep,
    UploadBatch,
    UploadItem,
    VersionStatus,
)
from appliance.documents.uploads import too_large
from appliance.lib.errors import BadRequest, Conflict, NotFound
from appliance.lib.failures import translate
from appliance.lib.text import clean_name

MAX_FILES = 20_000
_STATES = {
    "not_sent": Q(version=None, error_code="", batch__cancelled_at=None),
    "cancelled": Q(version=None, error_code="", batch__cancelled_at__isnull=False),
    "refused": ~Q(error_code=""),
    "working": Q(version__status__in=UNFINISHED),
    "ready": Q(version__status=VersionStatus.READY),
    "failed": Q(version__status__in=versions.ENDED_BADLY),
}
#: Every state of a file, in the order of its way, with the words for it.
STATES = (
    ("ready", "Ready"),
    ("working", "Being read"),
    ("failed", "Could not be read"),
    ("refused", "Refused"),
    ("not_sent", "Not sent"),
    ("cancelled", "Cancelled"),
)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many files of a batch are in each state. The states exclude each other, so their sum is `total`."""

    total: int
    counts: dict[str, int]

    @property
    def done(self) -> int:
        return self.total - self.counts["working"] - self.counts["not_sent"]

    @property
    def unfinished(self) -> bool:
        return self.counts["working"] > 0

    @property
    def troubled(self) -> int:
        return self.counts["failed"]

    @property
    def states(self) -> list[tuple[str, str, int]]:
        return [(key, label, self.counts[key]) for key, label in STATES]


def batches_of(user: User) -> QuerySet[UploadBatch]:
    """The batches that `user` began in collections they may add to, newest first."""
    addable = collections_for(user, "contributor").order_by()
    found = UploadBatch.objects.filter(created_by=user, collection__in=addable)
    return found.select_related("collection").order_by("-created_at")


def access_batch(user: User, batch_id: uuid.UUID | str) -> UploadBatch:
    """A batch of `user`'s own, while they may add to its collection. Raises NotFound."""
    batch = batches_of(user).filter(pk=as_uuid(batch_id)).first()
    if batch is None:
        raise NotFound()
    return batch


def do_start(collection: Collection, *, acting_user: User | None) -> UploadBatch:
    """An empty batch. The caller has checked that `acting_user` may add to `collection`; None is a command."""
    return UploadBatch.objects.create(collection=collection, created_by=acting_user)


def do_announce(batch: UploadBatch, files: Sequence[tuple[str, int]]) -> list[int]:
    """Adds (path, size in bytes) of files that will be sent; returns their ids, in order."""
    if batch.cancelled_at is not None:
        raise Conflict("This upload was cancelled.", code="cancelled")
    with transaction.atomic():
        first = UploadBatch.objects.select_for_update().get(pk=batch.pk).items.count()
        if first + len(files) > MAX_FILES:
            raise BadRequest(f"At most {MAX_FILES:,} files at once.", hint="Send the folder in parts.")
        items = [
            UploadItem(batch=batch, ordinal=first + at, path=clean_name(path, limit=500), size_bytes=size)
            for at, (path, size) in enumerate(files)
        ]
        return [item.pk for item in UploadItem.objects.bulk_create(items, batch_size=1000)]


def do_receive(
    batch: UploadBatch, item_id: int, file: File[bytes] | BinaryIO | None, *, acting_user: User | None, actor: Actor
) -> UploadItem:
    """Takes in the file of one item; what is refused is written down with its reason. Repeatable: once taken, it stays.

    `file` None is one that was larger than the limit.
    """
    item = batch.items.filter(pk=item_id).select_related("version").first()
    if item is None:
        raise NotFound()
    if batch.cancelled_at is not None:
        raise Conflict("This upload was cancelled.", code="cancelled")
    if item.version is not None:
        return item
    path = PurePosixPath(item.path.replace("\\", "/"))
    began = timezone.now()
    try:
        if file is None:
            raise too_large(path.name)
        version = actions.do_upload(
            collection=batch.collection,
            filename=path.name,
            folder=str(path.parent) if path.parent.name else "",
            file=file,
            acting_user=acting_user,
            actor=actor,
        )
    except Exception as failure:
        error = translate(failure)
        if not error.permanent:
            raise  # nothing was decided about the file: it can be sent again
        item.error_code, item.error_reason, item.error_hint = error.public_code, error.message, error.hint
    else:
        item.version, item.known = version, version.created_at < began
        item.error_code = item.error_reason = item.error_hint = ""
    item.save(update_fields=["version", "known", "error_code", "error_reason", "error_hint"])
    return item


def do_pause(batch: UploadBatch, *, actor: Actor) -> None:
    """What waits is not read until the upload goes on; what is being read is read to its end. Repeatable.

    Files may still be sent: they wait too. Raises Conflict for a cancelled upload.
    """
    _set_paused(batch, timezone.now(), actor=actor)


def do_resume(batch: UploadBatch, *, actor: Actor) -> None:
    """What waits is read again. Repeatable. Raises Conflict for a cancelled upload."""
    _set_paused(batch, None, actor=actor)


def _set_paused(batch: UploadBatch, paused_at: datetime | None, *, actor: Actor) -> None:
    with transaction.atomic():
        row = UploadBatch.objects.select_for_update().get(pk=batch.pk)
        if row.cancelled_at is not None:
            raise Conflict("This upload was cancelled.", code="cancelled")
        if (row.paused_at is None) == (paused_at is None):
            return
        UploadBatch.objects.filter(pk=row.pk).update(paused_at=paused_at)
        batch.paused_at = paused_at
        action = "upload.resume" if paused_at is None else "upload.pause"
        entity = Entity("collection", str(row.collection_id))
        record(Event(EventType.UPLOAD, action, entities=(entity,), detail={"batch": str(row.pk)}), actor=actor)
        if paused_at is None:
            transaction.on_commit(lambda: _enqueue_waiting(row))


def _enqueue_waiting(batch: UploadBatch) -> None:
    waiting = DocumentVersion.objects.filter(upload_items__batch=batch, status=VersionStatus.QUEUED, lease_token=None)
    for pk in waiting.order_by("pk").values_list("pk", flat=True).distinct():
        queue.enqueue(pk)


def do_cancel(batch: UploadBatch, *, actor: Actor) -> None:
    """What was not sent will not be taken; what waits to be read is set aside. What is being read goes on."""
    with transaction.atomic():
        UploadBatch.objects.filter(pk=batch.pk, cancelled_at=None).update(cancelled_at=timezone.now())
        waiting = DocumentVersion.objects.filter(
            upload_items__batch=batch, upload_items__known=False, status=VersionStatus.QUEUED, lease_token=None
        )
        ids = list(waiting.values_list("pk", flat=True))
        changed = DocumentVersion.objects.filter(pk__in=ids, status=VersionStatus.QUEUED, lease_token=None)
        cancelled = list(changed.select_for_update().values_list("pk", "document_id", "n"))
        DocumentVersion.objects.filter(pk__in=[pk for pk, _, _ in cancelled]).update(
            status=VersionStatus.FAILED,
            error_code="cancelled",
            error_reason="The upload was cancelled before this file was read.",
            error_hint="Read it again, or delete it.",
        )
        IngestStep.objects.bulk_create([IngestStep(version_id=pk, step="cancelled") for pk, _, _ in cancelled])
        entities = (
            Entity("collection", str(batch.collection_id)),
            *(Entity("document", str(document_id), version=n) for _, document_id, n in cancelled),
        )
        detail = {"batch": str(batch.pk), "files": len(cancelled)}
        record(Event(EventType.UPLOAD, "upload.cancel", entities=entities, detail=detail), actor=actor)


def do_retry_failed(batch: UploadBatch, *, acting_user: User | None, actor: Actor) -> int:
    """Reads every file of the batch again that could not be read. Returns how many."""
    failed = items_of(batch, "failed").values_list("version__document_id", "version__n").distinct()
    retried = 0
    for document_id, n in list(failed):
        try:
            versions.do_retry(document_id, n, acting_user=acting_user, actor=actor)
        except (NotFound, Conflict):  # deleted, or no longer failed: nothing to do for this one
            continue
        retried += 1
    return retried


def tally(batch: UploadBatch) -> Tally:
    """How many files are in each state now, from the rows."""
    figures = batch.items.aggregate(
        total=Count("pk"), **{key: Count("pk", filter=condition) for key, condition in _STATES.items()}
    )
    return Tally(figures.pop("total"), figures)


def state_of(item: UploadItem) -> str:
    """Which of `STATES` a file is in, as `items_of` filters them: its batch and version are loaded."""
    if item.error_code:
        return "refused"
    if item.version is None:
        return "not_sent" if item.batch.cancelled_at is None else "cancelled"
    if item.version.status in UNFINISHED:
        return "working"
    return "ready" if item.version.status == VersionStatus.READY else "failed"


def items_of(batch: UploadBatch, state: str = "") -> QuerySet[UploadItem]:
    """The files of a batch in their order, all or those in one state."""
    found = batch.items.select_related("version__document", "batch").order_by("ordinal")
    return found.filter(_STATES[state]) if state in _STATES else found
