"""Collections: what access is granted on."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from appliance.documents.querysets import CollectionQuerySet


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
    break_glass = models.BooleanField(default=False)  # may be opened in an emergency, where the site allows that at all
    language = models.CharField(max_length=63, default="english")  # a PostgreSQL text search configuration
    chunk_template = models.CharField(max_length=20, choices=ChunkTemplate, default=ChunkTemplate.GENERIC)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    objects: ClassVar[CollectionQuerySet] = CollectionQuerySet.as_manager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.name
