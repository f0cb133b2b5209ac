"""Which models' vectors are stored: the active one, which search uses, and one that is being built beside it.

begin(name)  -> a model is being built: work on it is found by `documents.reindexing`
is_complete  -> every ready version has its vectors
do_flip      -> one transaction: the new one is active, the old one retired
remove_retired -> the old vectors go, batch by batch
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet, Sum

from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.documents.models import BuiltVersion, ChunkEmbedding, DocumentVersion, EmbeddingModel, VersionStatus
from appliance.lib.errors import Conflict, ModelRefused
from appliance.llm import client

#: The first model's name in the database, whatever a site's model server calls it (APPLIANCE_EMBEDDING_MODEL).
FIRST = "all-minilm-l6-v2"
MAX_DIMENSIONS = 4_000  # pgvector's limit of an index over half-precision vectors
_REMOVED_AT_ONCE = 5_000

_ACTIVE_SHARED = "SELECT id FROM documents_embeddingmodel WHERE active FOR SHARE"
_INCOMPLETE = """
SELECT DISTINCT c.version_id FROM documents_chunk AS c JOIN documents_documentversion AS v ON v.id = c.version_id
WHERE v.status = 'ready' AND NOT EXISTS (
    SELECT FROM documents_chunkembedding AS e WHERE e.chunk_id = c.id AND e.model_id = %s)
"""
_REMOVE = """
DELETE FROM documents_chunkembedding WHERE id IN (
    SELECT id FROM documents_chunkembedding WHERE model_id = %s LIMIT %s)
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the building of a model is, in ready versions and in their chunks."""

    model: str
    versions_done: int
    versions: int
    chunks_done: int
    chunks: int

    def as_dict(self) -> dict[str, str | int]:
        return {
            "model": self.model,
            "versions_done": self.versions_done,
            "versions": self.versions,
            "chunks_done": self.chunks_done,
            "chunks": self.chunks,
        }


def active() -> EmbeddingModel:
    """The model that search uses."""
    return EmbeddingModel.objects.get(active=True)


def being_built() -> EmbeddingModel | None:
    """The model that is to take its place, if there is one."""
    return EmbeddingModel.objects.filter(building=True).first()


def vectors_of(model: EmbeddingModel, texts: list[str]) -> list[list[float]]:
    """Vectors of `model`. Raises ModelRefused when the server's are of another size than the stored ones."""
    vectors = client.embed(texts, model="" if model.name == FIRST else model.name)
    if any(len(vector) != model.dimensions for vector in vectors):
        raise ModelRefused("The model server sent a vector of another size than the stored ones.")
    return vectors


def is_still_active(model: EmbeddingModel) -> bool:
    """Whether `model` is the active one, and stays it until the end of the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_ACTIVE_SHARED)
        return [pk for (pk,) in cursor.fetchall()] == [model.pk]


def do_begin(name: str, *, actor: Actor) -> EmbeddingModel:
    """From now on vectors of the model `name` are made beside the active one's. Repeatable.

    Raises Conflict when another model is being built or the model cannot be indexed, and ModelUnavailable when the
    server does not answer for it.
    """
    found = EmbeddingModel.objects.filter(name=name).first()
    if found is not None and (found.active or found.building):
        return found
    (probe,) = client.embed(["Is this model there?"], model="" if name == FIRST else name)
    if len(probe) > MAX_DIMENSIONS:
        raise Conflict(
            f"Vectors of {len(probe)} figures cannot be indexed: {MAX_DIMENSIONS} are the most.",
            code="vectors_too_long",
        )
    with transaction.atomic():
        rows = list(EmbeddingModel.objects.select_for_update().order_by("pk"))
        other = next((row for row in rows if row.building and row.name != name), None)
        if other is not None:
            raise Conflict(
                f"The index is already being moved to {other.name}.", hint="Let it end first.", code="already_building"
            )
        model, _ = EmbeddingModel.objects.get_or_create(name=name, defaults={"dimensions": len(probe)})
        if model.dimensions != len(probe):
            raise Conflict(
                f"Stored vectors of {name} have {model.dimensions} figures, the server's {len(probe)}.",
                hint="It is another model: serve it under another name.",
                code="other_dimensions",
            )
        if not model.building:
            BuiltVersion.objects.filter(model=model).delete()
            EmbeddingModel.objects.filter(pk=model.pk).update(building=True)
            detail = {"model": name, "dimensions": len(probe)}
            record(Event(EventType.SETTING, "index.build", detail=detail), actor=actor)
    model.refresh_from_db()
    return model


def unbuilt(model: EmbeddingModel) -> QuerySet[DocumentVersion]:
    """Ready versions without vectors of a model that is being built, those in use first."""
    built = BuiltVersion.objects.filter(model=model, version=OuterRef("pk"))
    ready = DocumentVersion.objects.filter(~Exists(built), status=VersionStatus.READY)
    return ready.order_by("current_of", "pk")


def progress(model: EmbeddingModel) -> Progress:
    """How many ready versions have their vectors."""
    ready = DocumentVersion.objects.filter(status=VersionStatus.READY)
    chunks = ready.aggregate(chunks=Sum("num_chunks"))["chunks"] or 0
    versions = ready.count()
    missing = unbuilt(model)
    missing_chunks = missing.order_by().aggregate(chunks=Sum("num_chunks"))["chunks"] or 0
    return Progress(model.name, versions - missing.order_by().count(), versions, chunks - missing_chunks, chunks)


def do_flip(model: EmbeddingModel, *, actor: Actor) -> bool:
    """Makes `model` the active one, if every ready version has its vectors; else says so and changes nothing.

    Versions that become ready meanwhile wait for the end of this transaction, or it for theirs.
    """
    with transaction.atomic():
        rows = list(EmbeddingModel.objects.select_for_update().order_by("pk"))
        before = next(row for row in rows if row.active)
        if before.pk == model.pk:
            return True
        with connection.cursor() as cursor:
            cursor.execute(_INCOMPLETE, [model.pk])
            incomplete = [pk for (pk,) in cursor.fetchall()]
        if incomplete:
            BuiltVersion.objects.filter(model=model, version__in=incomplete).delete()
            return False
        EmbeddingModel.objects.filter(pk=before.pk).update(active=False)
        EmbeddingModel.objects.filter(pk=model.pk).update(active=True, building=False)
        BuiltVersion.objects.filter(model=model).delete()
        detail = {"before": before.name, "now": model.name}
        record(Event(EventType.SETTING, "index.flip", entities=(_entity(model),), detail=detail), actor=actor)
    return True


def remove_retired(*, actor: Actor) -> int:
    """Removes the vectors of models that are neither active nor being built. Returns how many there were."""
    removed = 0
    for model in EmbeddingModel.objects.filter(active=False, building=False):
        of_this = 0
        while True:
            with connection.cursor() as cursor:
                cursor.execute(_REMOVE, [model.pk, _REMOVED_AT_ONCE])
                of_this += cursor.rowcount
                if cursor.rowcount < _REMOVED_AT_ONCE:
                    break
        if of_this:
            detail = {"model": model.name, "vectors": of_this}
            record(Event(EventType.SETTING, "index.remove", entities=(_entity(model),), detail=detail), actor=actor)
        removed += of_this
    return removed


def store(version: DocumentVersion, model: EmbeddingModel, pks: list[int], vectors: list[list[float]]) -> None:
    """Adds vectors to chunks of `version`; those that are there already stay."""
    ChunkEmbedding.objects.bulk_create(
        [
            ChunkEmbedding(chunk_id=pk, version=version, model=model, embedding=vector)
            for pk, vector in zip(pks, vectors, strict=True)
        ],
        ignore_conflicts=True,
    )


def _entity(model: EmbeddingModel) -> Entity:
    return Entity("embedding_model", model.name)
