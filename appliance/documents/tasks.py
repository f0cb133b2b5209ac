"""Celery tasks of the documents: reading one version, and reviving what a dead worker left."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from celery import shared_task
from celery.signals import worker_process_init, worker_process_shutdown
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

import ingest
from appliance.audit.models import Outcome
from appliance.documents import pipeline, queue, reindexing, steps
from appliance.documents.actions import record_ingest
from appliance.documents.antivirus import Infected, ScanBroken, TooLargeToScan
from appliance.documents.children import TooManyChildren
from appliance.documents.lease import Lease, LeaseLost, held
from appliance.documents.models import UNFINISHED, Chunk, DocumentVersion, VersionPage, VersionStatus, VersionText
from appliance.documents.private_folders import remove_abandoned
from appliance.lib.errors import Unavailable
from appliance.lib.failures import translate
from ingest.sandbox import Limits, Reader

log = logging.getLogger(__name__)

_SWEEP_BATCH = 500
_reader: Reader | None = None


@worker_process_init.connect
def _after_fork(**_: object) -> None:
    connection.close()


@worker_process_shutdown.connect
def _before_end(**_: object) -> None:
    if _reader is not None:
        _reader.close()


def _read(
    path: Path, name: str, password: str | None, template: str, on_progress: Callable[[int, int], None]
) -> tuple[ingest.ParsedDocument, list[ingest.Chunk]]:
    """In the sandbox, whose worker stays warm from file to file."""
    global _reader
    if _reader is None:
        limits = Limits(
            silence_s=settings.READ_SILENCE_S,
            deadline_s=settings.READ_DEADLINE_S,
            memory_bytes=settings.READ_MEMORY_BYTES,
        )
        _reader = Reader(limits, ocr_languages=settings.OCR_LANGUAGES)
    return _reader.read(path, name, password, chunking={"template": template}, on_progress=on_progress)


@shared_task(name="documents.ingest")
def ingest_version(version_id: int) -> None:
    """Reads one version. Safe to run twice, late, or at once with another: the lease decides."""
    lease = Lease.claim(version_id)
    if lease is None:
        return
    try:
        with lease:
            if lease.attempts > settings.INGEST_MAX_ATTEMPTS:
                _give_up(lease)
                return
            pipeline.run(lease, _read)
    except LeaseLost:
        log.info("version %d was taken over", version_id)
    except ingest.IngestError as error:
        _not_read(lease, error)
    except Infected as error:
        _end(lease, VersionStatus.QUARANTINED, error.code, error.message, error.hint, signature=error.signature)
    except (TooManyChildren, TooLargeToScan) as error:
        _end(lease, VersionStatus.FAILED, error.code, error.message, error.hint)
    except ScanBroken as error:
        _release(lease, error.code, error.message, refund=False)
    except Exception as error:
        cause = translate(error)
        waits = isinstance(cause, Unavailable)  # not the file's fault: it costs no attempt, and is brought back
        if waits:
            log.warning("version %d waits: %s", version_id, cause)
        else:
            log.exception("version %d failed, attempt %d", version_id, lease.attempts)
        _release(lease, cause.public_code, cause.message, refund=waits)


def _not_read(lease: Lease, error: ingest.IngestError) -> None:
    """A refusal ends the version; a breakdown of its parser is tried again, a few times."""
    if error.permanent:
        _end(lease, VersionStatus.FAILED, error.code, error.reason, error.hint)
    elif lease.attempts >= settings.INGEST_MAX_ATTEMPTS:
        reason = f"{error.reason} It was tried {lease.attempts} times."
        _end(lease, VersionStatus.QUARANTINED, error.code, reason, error.hint)
    else:
        _release(lease, error.code, error.reason, refund=False)


def _give_up(lease: Lease) -> None:
    """Ends a version whose attempts are spent; mostly they ended the worker, so nobody could write down why."""
    version = DocumentVersion.objects.get(pk=lease.version_id)
    reason = f"Reading this file ended the worker or failed {settings.INGEST_MAX_ATTEMPTS} times."
    if version.error_reason:
        reason += f" The last cause: {version.error_reason}"
    hint = "It is kept and will not be tried again. Ask an administrator to look at it."
    _end(lease, VersionStatus.QUARANTINED, "gave_up", reason, hint)


def _end(lease: Lease, status: VersionStatus, code: str, reason: str, hint: str, **detail: str) -> None:
    with transaction.atomic():
        updated = DocumentVersion.objects.filter(lease.mine()).update(
            status=status,
            error_code=code,
            error_reason=reason,
            error_hint=hint,
            lease_until=None,
            lease_token=None,
            sealed_password=None,
        )
        if updated:
            version = DocumentVersion.objects.get(pk=lease.version_id)
            Chunk.objects.filter(version=version).delete()  # of an attempt that ended between its text and its vectors
            VersionText.objects.filter(version=version).delete()
            VersionPage.objects.filter(version=version).delete()
            steps.note(version.pk, str(status.value), code=code, attempt=lease.attempts)
            record_ingest(version, Outcome.FAILED, code=code, **detail)


def _release(lease: Lease, code: str, reason: str, *, refund: bool) -> None:
    """Gives the version back to the queue, with the cause in its row: whoever looks sees why it waits."""
    attempts = lease.attempts - 1 if refund else lease.attempts
    again = Now() + timedelta(seconds=settings.INGEST_RETRY_S)
    try:
        with transaction.atomic():
            updated = DocumentVersion.objects.filter(lease.mine()).update(
                status=VersionStatus.QUEUED,
                lease_until=again,
                lease_token=None,
                attempts=attempts,
                error_code=code,
                error_reason=reason,
                error_hint="It is tried again by itself.",
            )
            if updated:
                steps.note(lease.version_id, "waits", code=code, attempt=lease.attempts)
    except OperationalError:  # the database is what failed: the lease runs out by itself
        log.warning("version %d keeps its lease until it expires", lease.version_id)


@shared_task(name="documents.sweep")
def sweep() -> int:
    """Hands every unfinished version without a live lease to the workers again. Returns how many.

    First removes what killed workers left lying decrypted.
    """
    remove_abandoned()
    waiting = DocumentVersion.objects.filter(~held(), status__in=UNFINISHED).filter(
        Q(lease_until__isnull=True, created_at__lt=Now() - timedelta(seconds=settings.SWEEP_INTERVAL_S))
        | Q(lease_until__lt=Now())
    )
    version_ids = list(waiting.order_by("pk").values_list("pk", flat=True)[:_SWEEP_BATCH])
    for version_id in version_ids:
        queue.enqueue(version_id)
    if reindexing.is_waiting():
        reindexing.enqueue()
    return len(version_ids)


@shared_task(name="documents.reindex")
def reindex() -> None:
    """Indexes one ready version again, and asks for the next: uploads come in between. Safe to run at any time."""
    try:
        if reindexing.work_once(_cut):
            reindexing.enqueue()
    except (Unavailable, OperationalError) as error:  # the sweeper asks again
        log.warning("indexing again waits: %s", error)


def _cut(version: DocumentVersion, template: str) -> list[ingest.Chunk]:
    """Chunks of the text as it was read, by the same rules as when it is read. No file is opened for it."""
    content = VersionText.objects.get(pk=version.pk)
    parties = tuple(version.parties)
    document = ingest.ParsedDocument(
        text=content.text,
        pages=tuple(ingest.Page(*page) for page in content.pages),
        sections=tuple(ingest.Section(*section) for section in content.sections),
        title=version.title,
        parties=parties,
        media_type=version.media_type,
        paginated=version.paginated,
        name_words=ingest.name_words(version.document.filename, " ".join((version.title, *parties))),
    )
    return ingest.chunk(document, template=template)
