"""What was asked and answered, apart from the events: encrypted, and bound to them by a salted commitment."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone


class ContentKind(models.TextChoices):
    """Which text."""

    QUESTION = "question", "Question"
    ANSWER = "answer", "Answer"


class Content(models.Model):
    """A text and the salt of its commitment. Erasing it leaves the event, whose proof stays valid.

    The event holds `commitment`: SHA-256 over the salt and the text. Without the 16 random bytes of the salt nobody
    can try whether a text was it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    correlation = models.UUIDField()  # of the events of one question
    kind = models.CharField(max_length=10, choices=ContentKind)
    commitment = models.BinaryField(max_length=32)
    salt = models.BinaryField(max_length=16, null=True)
    wrapped_key = models.BinaryField(max_length=64, null=True)  # by the master key; null: erased
    ciphertext = models.BinaryField(null=True)
    made_at = models.DateTimeField(default=timezone.now)
    erased_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["correlation", "kind"], name="audit_content_once")]
        indexes = [models.Index(fields=["made_at"], name="audit_content_by_time")]


class Reveal(models.Model):
    """A request to read what was asked and answered in one correlation, and its decision by a second person."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    correlation = models.UUIDField()
    reason = models.CharField(max_length=500)
    reference = models.CharField(max_length=100, blank=True)  # of the matter or patient it is needed for
    requested_by = models.UUIDField()
    requested_at = models.DateTimeField(default=timezone.now)
    decided_by = models.UUIDField(null=True)
    decided_at = models.DateTimeField(null=True)
    approved = models.BooleanField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["correlation"], name="audit_reveal_of"),
            models.Index(fields=["-requested_at"], name="audit_reveal_latest"),
        ]
