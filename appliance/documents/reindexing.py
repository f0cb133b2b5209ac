"""Indexing ready versions again, beside the index that is searched meanwhile. Nothing is read from the file again:
the text, and so every citation's offsets, stay.

    the collection's language or template changed -> chunks of the text are staged with their vectors; one transaction
                                                     puts them in the place of the old ones, with postings
    a model is being built                        -> its vectors are added to the chunks that are there

Work is found by what rows say, not by what was queued: a worker that dies leaves a lease that runs out, and the next
goes on with the chunks that have no vector yet.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from kombu.exceptions import OperationalError as BrokerError

from appliance.audit.models import EventType
from appliance.audit.record import SYSTEM, Entity, Event, record
from appliance.celery import app
from appliance.documents import embedding, index, steps
from appliance.documents.lease import LeaseLost
from appliance.documents.models import (
    BuiltVersion,
    Chunk,
    Collection,
    DocumentVersion,
    EmbeddingModel,
    Reindexing,
    StagedChunk,
    VersionStatus,
)
from appliance.lib.errors import ApplianceError, Unavailable
from appliance.lib.text import storable

if TYPE_CHECKING:
    import ingest

log = logging.getLogger(__name__)

_BATCH = 64
_LOOKED_AT = 20
_AGAIN_AFTER_S = 10
_FIELDS = ("ordinal", "page", "start", "end", "heading", "text", "indexed_text")

#: Cuts a version's stored text by a template: handed in by the task, which alone knows `ingest`.
Cut = Callable[[DocumentVersion, str], "Sequence[ingest.Chunk]"]


def stale(collection: Collection | None = None) -> QuerySet[DocumentVersion]:
    """Ready versions whose index was made with another language or template than their collection has now."""
    ready = DocumentVersion.objects.filter(status=VersionStatus.READY).filter(
        ~Q(indexed_language=F("document__collection__language"))
        | ~Q(indexed_template=F("document__collection__chunk_template"))
    )
    if collection is not None:
        ready = ready.filter(document__collection=collection)
    return ready.order_by("current_of", "pk")


def is_waiting() -> bool:
    """Whether there is anything to index again."""
    model = embedding.being_built()
    return stale().exists() or (model is not None and embedding.unbuilt(model).exists())


def enqueue() -> None:
    """Asks a worker to take the next piece of work. Never raises for a broker that is down: the sweeper asks again."""
    try:
        app.send_task("documents.reindex", queue="ingest", retry=False)
    except (BrokerError, OSError) as error:
        log.warning("broker not answering (%s): indexing again waits for the sweeper", type(error).__name__)


def work_once(cut: Cut) -> bool:
    """Indexes one version again. Returns False when there was none that nobody else works on.

    Raises Unavailable when the model server or the database is: the version waits a little and is tried again.
    """
    for work in _claims():
        try:
            _run(work, cut)
        except (LeaseLost, DocumentVersion.DoesNotExist, Reindexing.DoesNotExist):  # or deleted meanwhile
            log.info("indexing version %d again was taken over", work.version_id)
        except ApplianceError as error:
            again = Now() + timedelta(seconds=_AGAIN_AFTER_S)
            work.rows().update(lease_until=again, lease_token=None, error_code=error.public_code)
            if isinstance(error, Unavailable):
                raise
            log.warning("version %d is not indexed again: %s", work.version_id, error)
        return True
    _forget_abandoned()
    return False


def _forget_abandoned() -> None:
    """What was staged for a setting that was taken back meanwhile."""
    model = embedding.being_built()
    wanted = [stale(), *([embedding.unbuilt(model)] if model is not None else [])]
    rows = Reindexing.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()))
    for versions in wanted:
        rows = rows.exclude(version__in=versions.order_by())
    rows.delete()


@dataclass(frozen=True, slots=True)
class _Work:
    version_id: int
    token: uuid.UUID

    def rows(self) -> QuerySet[Reindexing]:
        return Reindexing.objects.filter(pk=self.version_id, lease_token=self.token)

    def renew(self, **fields: Any) -> None:
        """Raises LeaseLost. Inside a transaction it also keeps others out until the end of that."""
        if not self.rows().update(lease_until=_expiry(), **fields):
            raise LeaseLost(f"version {self.version_id}")


def _claims() -> Iterator[_Work]:
    """Leases on versions that need work, one after the other until the caller takes one."""
    model = embedding.being_built()
    waiting = [stale(), *([embedding.unbuilt(model)] if model is not None else [])]
    leased = Reindexing.objects.filter(version=OuterRef("pk"), lease_until__gt=Now()).values("pk")
    for versions in waiting:
        free = versions.annotate(leased=Subquery(leased)).filter(leased__isnull=True)
        for version_id in free.values_list("pk", flat=True)[:_LOOKED_AT]:
            try:
                Reindexing.objects.bulk_create([Reindexing(version_id=version_id)], ignore_conflicts=True)
            except IntegrityError:  # deleted meanwhile
                continue
            token = uuid.uuid4()
            claimed = Reindexing.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), pk=version_id)
            if claimed.update(lease_until=_expiry(), lease_token=token, error_code=""):
                yield _Work(version_id, token)


def _run(work: _Work, cut: Cut) -> None:
    version = DocumentVersion.objects.select_related("document__collection").get(pk=work.version_id)
    collection = version.document.collection
    if version.status == VersionStatus.READY:
        if version.indexed_template != collection.chunk_template:
            _cut_again(work, version, cut)
        elif version.indexed_language != collection.language:
            _stem_again(work, version)
        elif (model := embedding.being_built()) is not None:
            _build(work, version, model)
    work.rows().delete()


def _stem_again(work: _Work, version: DocumentVersion) -> None:
    """Other terms for the same chunks: their vectors stay."""
    with transaction.atomic():
        DocumentVersion.objects.select_for_update(no_key=True).get(pk=version.pk)
        work.renew()
        DocumentVersion.objects.filter(pk=version.pk).update(num_terms=index.write_postings(connection, version.pk))
        _note(version)


def _cut_again(work: _Work, version: DocumentVersion, cut: Cut) -> None:
    template = version.document.collection.chunk_template
    while True:
        model = embedding.active()
        _stage(work, version, template, model.pk, cut)
        staged = StagedChunk.objects.filter(work=version.pk, embedding__isnull=True).order_by("ordinal")
        for batch in _batches(staged):
            vectors = embedding.vectors_of(model, [text for _, text in batch])
            with transaction.atomic():
                work.renew()
                rows = [StagedChunk(pk=pk, embedding=v) for (pk, _), v in zip(batch, vectors, strict=True)]
                StagedChunk.objects.bulk_update(rows, ["embedding"])
        with transaction.atomic():
            DocumentVersion.objects.select_for_update(no_key=True).get(pk=version.pk)
            if embedding.is_still_active(model):  # else the index moved to another model just now: once more
                work.renew()
                _swap(version, template, model)
                return


def _stage(work: _Work, version: DocumentVersion, template: str, model_id: int, cut: Cut) -> None:
    """The new chunks, unless an earlier attempt left them; its vectors too, if they are of this model."""
    row = Reindexing.objects.get(pk=version.pk)
    known = row.template == template and row.chunks.exists()
    if known and row.model_id == model_id:
        return
    chunks = [] if known else list(cut(version, template))
    with transaction.atomic():
        work.renew(template=template, model=model_id)
        if known:
            row.chunks.update(embedding=None)
            return
        row.chunks.all().delete()
        StagedChunk.objects.bulk_create(
            [
                StagedChunk(
                    work=row,
                    ordinal=chunk.ordinal,
                    page=chunk.page,
                    start=chunk.start,
                    end=chunk.end,
                    heading=chunk.heading[:300],
                    text=chunk.text,
                    indexed_text=storable(chunk.indexed_text),
                )
                for chunk in chunks
            ],
            batch_size=500,
        )


def _swap(version: DocumentVersion, template: str, model: EmbeddingModel) -> None:
    """The staged chunks take the place of the version's. The caller holds the version and the model."""
    staged = list(StagedChunk.objects.filter(work=version.pk).order_by("ordinal"))
    Chunk.objects.filter(version=version).delete()
    made = Chunk.objects.bulk_create(
        [Chunk(version=version, **{name: getattr(chunk, name) for name in _FIELDS}) for chunk in staged],
        batch_size=500,
    )
    embedding.store(version, model, [chunk.pk for chunk in made], [chunk.embedding for chunk in staged])
    BuiltVersion.objects.filter(version=version).delete()
    num_terms = index.write_postings(connection, version.pk)
    DocumentVersion.objects.filter(pk=version.pk).update(
        num_chunks=len(made), chunks_done=len(made), num_terms=num_terms, indexed_template=template
    )
    _note(version)


def _build(work: _Work, version: DocumentVersion, model: EmbeddingModel) -> None:
    """Vectors of a second model for the chunks that have none of it."""
    missing = Chunk.objects.filter(version=version).exclude(embeddings__model=model).order_by("ordinal")
    for batch in _batches(missing):
        vectors = embedding.vectors_of(model, [text for _, text in batch])
        with transaction.atomic():
            DocumentVersion.objects.select_for_update(no_key=True).get(pk=version.pk)
            work.renew()
            there = set(Chunk.objects.filter(pk__in=[pk for pk, _ in batch]).values_list("pk", flat=True))
            pairs = [(pk, vector) for (pk, _), vector in zip(batch, vectors, strict=True) if pk in there]
            embedding.store(version, model, [pk for pk, _ in pairs], [vector for _, vector in pairs])
    with transaction.atomic():
        DocumentVersion.objects.select_for_update(no_key=True).get(pk=version.pk)
        work.renew()
        if not missing.exists():
            BuiltVersion.objects.bulk_create([BuiltVersion(model=model, version=version)], ignore_conflicts=True)


def _batches(rows: QuerySet[Any]) -> Iterator[list[tuple[int, str]]]:
    """Ids and indexed texts, some at a time, as they are now: what is written meanwhile is not seen."""
    found = iter(list(rows.values_list("pk", "indexed_text")))
    while batch := list(islice(found, _BATCH)):
        yield batch


def _note(version: DocumentVersion) -> None:
    """The step and the event, in the transaction that changes the index."""
    version.refresh_from_db(fields=["num_chunks", "indexed_language", "indexed_template"])
    detail: dict[str, Any] = {
        "chunks": version.num_chunks,
        "language": version.indexed_language,
        "template": version.indexed_template,
    }
    steps.note(version.pk, "indexed_again", **detail)
    entity = Entity("document", str(version.document_id), version=version.n)
    record(Event(EventType.INGEST, "document.reindex", entities=(entity,), detail=detail), actor=SYSTEM)


def _expiry() -> Any:
    return Now() + timedelta(seconds=settings.INGEST_LEASE_S)
