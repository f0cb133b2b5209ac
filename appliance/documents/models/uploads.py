"""Many files sent at once."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from appliance.documents.models.collections import Collection
from appliance.documents.models.documents import DocumentVersion


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
