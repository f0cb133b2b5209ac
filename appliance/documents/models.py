"""Collections, grants, documents, versions and what search reads."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone
from pgvector.django import HalfVectorField

from appliance.documents.querysets import CollectionQuerySet, DocumentQuerySet


class Classification(models.TextChoices):
    """How sensitive a collection is; shown, never used to decide access."""

    PUBLIC = "public", "Public"
    INTERNAL = "internal", "Internal"
    CONFIDENTIAL = "confidential", "Confidential"
    RESTRICTED = "restricted", "Restricted"


class ChunkTemplate(models.TextChoices):
    """How the passages of a collection's documents are cut: the templates of `ingest.templates`, by name."""

    GENERIC = "generic", "Any text"
    CONTRACT = "contract", "Contracts: by clause"
    CLINICAL_NOTE = "clinical_note", "Clinical notes: by section"
    POLICY = "policy", "Policies: by heading"
    SLIDES = "slides", "Slides: one each"
    MAIL = "mail", "E-mail: by message"


class Collection(models.Model):
    """A matter, a ward, a policy set: what access is granted on."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=150, unique=True)
    description = models.TextField(blank=True)
    classification = models.CharField(max_length=12, choices=Classification, default=Classification.CONFIDENTIAL)
    retention_days = models.PositiveIntegerField(null=True)
    legal_hold = models.BooleanField(default=False)
    language = models.CharField(max_length=63, default="english")  # a PostgreSQL text search configuration
    chunk_template = models.CharField(max_length=20, choices=ChunkTemplate, default=ChunkTemplate.GENERIC)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    objects: ClassVar[CollectionQuerySet] = CollectionQuerySet.as_manager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.name


class Document(models.Model):
    """A file through all its versions. Without `wrapped_key` its blobs cannot be read by anyone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(Collection, on_delete=models.PROTECT, related_name="documents")
    filename = models.CharField(max_length=255)
    title = models.CharField(max_length=300)
    current_version = models.OneToOneField(
        "DocumentVersion", null=True, on_delete=models.SET_NULL, related_name="current_of"
    )
    # The newest version when a person last chose which one is used. Only later ones take its place by themselves.
    newest_when_chosen = models.PositiveIntegerField(default=0)
    wrapped_key = models.BinaryField()
    # The e-mail or archive it came out of.
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="children")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    objects: ClassVar[DocumentQuerySet] = DocumentQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.UniqueConstraint(fields=["collection", "filename"], name="document_once_per_name")]

    def __str__(self) -> str:
        return self.title


class VersionStatus(models.TextChoices):
    """Where a version is on its way to being searchable."""

    QUEUED = "queued", "Waiting"
    PARSING = "parsing", "Reading"
    EMBEDDING = "embedding", "Indexing"
    READY = "ready", "Ready"
    FAILED = "failed", "Could not be read"
    QUARANTINED = "quarantined", "Held for checks"


#: States that something will still happen in.
UNFINISHED = (VersionStatus.QUEUED, VersionStatus.PARSING, VersionStatus.EMBEDDING)


class DocumentVersion(models.Model):
    """One immutable upload. `lease_until` and `attempts` let a sweeper revive what a dead worker left."""

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="versions")
    n = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    media_type = models.CharField(max_length=100, blank=True)
    size_bytes = models.PositiveBigIntegerField()
    blob_key = models.CharField(max_length=64)
    title = models.CharField(max_length=300, blank=True)
    parties = models.JSONField(default=list)
    label = models.CharField(max_length=500, blank=True)  # title and what tells it from others of that title
    num_pages = models.PositiveIntegerField(default=0)
    paginated = models.BooleanField(default=True)
    status = models.CharField(max_length=12, choices=VersionStatus, default=VersionStatus.QUEUED)
    error_code = models.CharField(max_length=40, blank=True)
    error_reason = models.TextField(blank=True)
    error_hint = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True)
    sealed_password = models.BinaryField(null=True)  # opens the file; erased when its reading ends
    chunks_done = models.PositiveIntegerField(default=0)
    num_chunks = models.PositiveIntegerField(default=0)
    num_terms = models.PositiveBigIntegerField(default=0)  # indexed terms of all chunks: BM25's length statistics
    # What its index was made with; where its collection says otherwise by now, it is indexed again.
    indexed_language = models.CharField(max_length=63, default="english")
    indexed_template = models.CharField(max_length=20, choices=ChunkTemplate, default=ChunkTemplate.GENERIC)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    ready_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["document", "n"], name="version_once_per_number")]
        indexes = [
            models.Index(
                fields=["lease_until"],
                name="version_unfinished",
                condition=Q(status__in=["queued", "parsing", "embedding"]),
            ),
            GinIndex(fields=["parties"], opclasses=["jsonb_path_ops"], name="version_by_parties"),
        ]

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to this version by itself."""
        return self.status in {VersionStatus.READY, VersionStatus.FAILED, VersionStatus.QUARANTINED}

    @property
    def wants_password(self) -> bool:
        """Whether it could not be opened for want of the right password."""
        return self.status == VersionStatus.FAILED and self.error_code in {"encrypted", "wrong_password"}


class VersionText(models.Model):
    """The extracted text, apart from the row that lists and status pages read.

    `pages` is [[number, start, end], ...] and `sections` [[heading, level, start], ...]: code-point offsets.
    """

    version = models.OneToOneField(DocumentVersion, primary_key=True, on_delete=models.CASCADE, related_name="content")
    text = models.TextField()
    pages = models.JSONField()
    sections = models.JSONField(default=list)


class VersionPage(models.Model):
    """How one page of a version looks, where it can be shown as such. `words` are those of `layout.pack`."""

    version = models.ForeignKey(DocumentVersion, on_delete=models.CASCADE, related_name="layouts")
    number = models.PositiveIntegerField()
    width_pt = models.FloatField()
    height_pt = models.FloatField()
    ocr_confidence = models.FloatField(null=True)
    words = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "number"], name="layout_once_per_page")]


class IngestStep(models.Model):
    """What happened to a version, step by step, for whoever asks why it is not ready. Holds no text of the document."""

    version = models.ForeignKey(DocumentVersion, on_delete=models.CASCADE, related_name="steps")
    at = models.DateTimeField(default=timezone.now)
    step = models.CharField(max_length=40)
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["version", "id"], name="step_by_version")]


class UploadBatch(models.Model):
    """Many files that are sent at once, so that afterwards each can be accounted for.

    `created_by` None is a command run on the machine itself. While `paused_at` is set, what waits is not read.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="+")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    paused_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)


class UploadItem(models.Model):
    """One file of a batch: announced, then taken in (`version`) or refused with its reason.

    `known`: the bytes were in the collection already.
    """

    batch = models.ForeignKey(UploadBatch, on_delete=models.CASCADE, related_name="items")
    ordinal = models.PositiveIntegerField()
    path = models.CharField(max_length=500)
    size_bytes = models.PositiveBigIntegerField()
    version = models.ForeignKey(DocumentVersion, null=True, on_delete=models.SET_NULL, related_name="upload_items")
    known = models.BooleanField(default=False)
    error_code = models.CharField(max_length=40, blank=True)
    error_reason = models.TextField(blank=True)
    error_hint = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["batch", "ordinal"], name="upload_item_once_per_place")]


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


class QuestionSet(models.Model):
    """Questions with the passages that should be found: what a change of settings is measured by."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="question_sets")
    name = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["collection", "name"], name="question_set_once_per_name")]

    def __str__(self) -> str:
        return self.name


class SavedQuestion(models.Model):
    """A question and where its answer stands: a stretch of a document's text, by its words so that it survives a
    new version or another way of cutting chunks.
    """

    question_set = models.ForeignKey(QuestionSet, on_delete=models.CASCADE, related_name="questions")
    text = models.TextField()
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="+")
    expected = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)


class RetrievalRun(models.Model):
    """One measurement of a question set. `ranks` maps a question's id to its passage's rank, null when not found."""

    question_set = models.ForeignKey(QuestionSet, on_delete=models.CASCADE, related_name="runs")
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    settings = models.JSONField()
    ranks = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["question_set", "-id"], name="run_by_set")]


class GrantRole(models.TextChoices):
    """What a grant allows on its target. Each includes the ones before it."""

    READER = "reader", "Can read"
    CONTRIBUTOR = "contributor", "Can add documents"
    MANAGER = "manager", "Can change access"


class Effect(models.TextChoices):
    """A deny is a wall: it beats every allow."""

    ALLOW = "allow", "Allow"
    DENY = "deny", "Deny"


class Grant(models.Model):
    """One rule: a person or group, allowed or denied, on a collection or one document, from and until when."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="grants")
    group = models.ForeignKey("accounts.Group", null=True, on_delete=models.CASCADE, related_name="grants")
    collection = models.ForeignKey(Collection, null=True, on_delete=models.CASCADE, related_name="grants")
    document = models.ForeignKey(Document, null=True, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=12, choices=GrantRole, default=GrantRole.READER)
    effect = models.CharField(max_length=5, choices=Effect, default=Effect.ALLOW)
    starts_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="grant_one_principal",
                condition=Q(user__isnull=True, group__isnull=False) | Q(user__isnull=False, group__isnull=True),
            ),
            models.CheckConstraint(
                name="grant_one_target",
                condition=Q(collection__isnull=True, document__isnull=False)
                | Q(collection__isnull=False, document__isnull=True),
            ),
            models.CheckConstraint(
                name="grant_ends_after_start",
                condition=Q(starts_at__isnull=True) | Q(ends_at__isnull=True) | Q(starts_at__lt=models.F("ends_at")),
            ),
        ]
