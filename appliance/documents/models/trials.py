"""Questions whose answers are known, and how well they are found."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from appliance.documents.models.collections import Collection
from appliance.documents.models.documents import Document


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
