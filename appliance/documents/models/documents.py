"""Documents, their versions, and what was read from each."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone

from appliance.documents.models.collections import ChunkTemplate, Collection
from appliance.documents.querysets import DocumentQuerySet


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

    @property
    def folder(self) -> str:
        """Where the file lay among those it was sent with, or the file it came out of; "" for one that came alone."""
        return self.filename.rpartition("/")[0]


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
