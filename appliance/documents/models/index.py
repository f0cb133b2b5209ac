"""What search reads: chunks, vectors, terms; and the indexes being built beside those in use."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from pgvector.django import HalfVectorField

from appliance.documents.models.documents import DocumentVersion


class EmbeddingModel(models.Model):
    """A model whose vectors are stored. Search uses the active one; one that is being built takes its place later.

    One that is neither was replaced: its vectors are on their way out.
    """

    name = models.CharField(max_length=100, unique=True)
    dimensions = models.PositiveSmallIntegerField()
    active = models.BooleanField(default=False)
    building = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["active"], condition=Q(active=True), name="one_active_embedding_model"),
            models.UniqueConstraint(fields=["building"], condition=Q(building=True), name="one_model_being_built"),
        ]


class Chunk(models.Model):
    """A stretch of a version's text: text == VersionText.text[start:end]. A passage is a chunk as shown."""

    version = models.ForeignKey(DocumentVersion, on_delete=models.CASCADE, related_name="chunks")
    ordinal = models.PositiveIntegerField()
    page = models.PositiveIntegerField()
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    heading = models.CharField(max_length=300, blank=True)
    text = models.TextField()
    indexed_text = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "ordinal"], name="chunk_once_per_ordinal")]


class ChunkEmbedding(models.Model):
    """The vector of a chunk under one model, normalised; inner product is cosine similarity."""

    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="embeddings")
    version = models.ForeignKey(DocumentVersion, on_delete=models.CASCADE, related_name="+")
    model = models.ForeignKey(EmbeddingModel, on_delete=models.PROTECT, related_name="+")
    embedding = HalfVectorField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chunk", "model"], name="embedding_once_per_model")]


class BuiltVersion(models.Model):
    """All chunks of this version have vectors of a model that is being built."""

    pk = models.CompositePrimaryKey("model_id", "version_id")
    model = models.ForeignKey(EmbeddingModel, on_delete=models.CASCADE, related_name="built", db_index=False)
    version = models.ForeignKey(DocumentVersion, on_delete=models.CASCADE, related_name="+")


class Reindexing(models.Model):
    """A ready version that is being indexed again, beside the index that is searched meanwhile.

    `lease_until` and `lease_token` are those of who works on it. `template` and `model` are what its staged
    chunks were made for.
    """

    version = models.OneToOneField(DocumentVersion, primary_key=True, on_delete=models.CASCADE, related_name="+")
    lease_until = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True)
    template = models.CharField(max_length=20, blank=True)
    model = models.ForeignKey(EmbeddingModel, null=True, on_delete=models.CASCADE, related_name="+")
    error_code = models.CharField(max_length=40, blank=True)


class StagedChunk(models.Model):
    """A chunk that takes the place of a version's chunks together with its fellows. The fields are those of Chunk."""

    work = models.ForeignKey(Reindexing, on_delete=models.CASCADE, related_name="chunks")
    ordinal = models.PositiveIntegerField()
    page = models.PositiveIntegerField()
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    heading = models.CharField(max_length=300, blank=True)
    text = models.TextField()
    indexed_text = models.TextField()
    embedding = HalfVectorField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["work", "ordinal"], name="staged_chunk_once_per_ordinal")]


class Posting(models.Model):
    """One term of one chunk: the inverted index that BM25 reads. `length` repeats the chunk's number of terms."""

    pk = models.CompositePrimaryKey("term", "chunk_id")
    term = models.TextField()
    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="+", db_index=True)
    version = models.ForeignKey(DocumentVersion, on_delete=models.CASCADE, related_name="+")
    tf = models.SmallIntegerField()
    length = models.IntegerField()


class NameTerm(models.Model):
    """One term of a name that a version goes by. `unit` 0 is the title, others are parties and the like, -1 holds whole
    identifiers (a matter number, a date). Sizes count terms: of the unit, and of all units together.
    """

    pk = models.CompositePrimaryKey("version_id", "unit", "term")
    version = models.ForeignKey(DocumentVersion, on_delete=models.CASCADE, related_name="+", db_index=False)
    unit = models.SmallIntegerField()
    term = models.TextField()
    unit_size = models.SmallIntegerField()
    label_size = models.SmallIntegerField()

    class Meta:
        indexes = [models.Index(fields=["term", "version"], name="name_by_term")]
