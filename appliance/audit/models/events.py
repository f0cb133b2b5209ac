"""Events. Rows are added by `record` alone; the database refuses to change or remove them."""

from __future__ import annotations

import uuid

from django.db import models


class CurrentTransaction(models.Func):
    """`pg_current_xact_id()` as a bigint: the epoch makes it grow for ever."""

    template = "(pg_current_xact_id()::text::bigint)"
    arity = 0
    output_field = models.BigIntegerField()


class EventType(models.TextChoices):
    """What kind of act an event records."""

    SIGN_IN = "sign_in", "Sign-in"
    SIGN_OUT = "sign_out", "Sign-out"
    INTENT = "intent", "Question or search asked"
    DISCLOSURE = "disclosure", "Passages shown"
    OUTCOME = "outcome", "Answer finished"
    ACCESS = "access", "Page or file opened"
    UPLOAD = "upload", "Upload"
    INGEST = "ingest", "File read"
    DELETE = "delete", "Deletion"
    GRANT = "grant", "Access changed"
    ACCOUNT = "account", "Account changed"
    TOKEN = "token", "Token issued or revoked"
    SETTING = "setting", "Setting changed"
    REFUSAL = "refusal", "Refused"
    REVIEW = "review", "Audit reviewed"
    REVEAL = "reveal", "Content revealed"
    EXPORT = "export", "Report or export"
    JOB = "job", "Batch work"
    RETENTION = "retention", "Held, released or destroyed"
    SYSTEM = "system", "Appliance started, upgraded or backed up"


class Outcome(models.TextChoices):
    """How the act ended."""

    SUCCESS = "success", "Done"
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped by the reader"
    ABORTED = "aborted", "Cut off"


class AuditEvent(models.Model):
    """One event. `canonical` holds the exact bytes (RFC 8785) that `leaf_hash` (RFC 6962, 0x00 prefix) covers;
    the other columns repeat parts of it for filters and are not evidence."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    recorded_at = models.DateTimeField()
    type = models.CharField(max_length=20, choices=EventType)
    action = models.CharField(max_length=60)
    outcome = models.CharField(max_length=12, choices=Outcome)
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(max_length=150, blank=True)
    correlation = models.UUIDField(null=True)  # ties intent, disclosure and outcome of one question together
    canonical = models.BinaryField()
    leaf_hash = models.BinaryField(max_length=32)
    # The writing transaction, so that a sealer takes only rows below the snapshot's xmin.
    xid = models.BigIntegerField(db_default=CurrentTransaction(), editable=False)

    class Meta:
        indexes = [
            models.Index(fields=["-recorded_at", "-id"], name="audit_by_time"),
            # Each in the order in which pages of it are read, so that any of them goes with a time from and to.
            models.Index(fields=["actor_id", "-recorded_at", "-id"], name="audit_by_actor"),
            models.Index(
                fields=["correlation"], name="audit_by_question", condition=models.Q(correlation__isnull=False)
            ),
            models.Index(fields=["type", "-recorded_at", "-id"], name="audit_by_type"),
            models.Index(
                fields=["outcome", "-recorded_at", "-id"],
                name="audit_by_outcome",
                condition=~models.Q(outcome="success"),
            ),
            models.Index(fields=["action", "-recorded_at", "-id"], name="audit_by_action"),
            models.Index(fields=["xid", "id"], name="audit_by_transaction"),
        ]


class AuditEntity(models.Model):
    """What an event was about: a document, a version, a passage, a collection, a user. Ids and positions only."""

    # Written in one statement with its event, which nobody can remove: a constraint would only cost.
    event = models.ForeignKey(AuditEvent, on_delete=models.PROTECT, related_name="entities", db_constraint=False)
    kind = models.CharField(max_length=20)
    object_id = models.CharField(max_length=64)
    version = models.IntegerField(null=True)
    page = models.IntegerField(null=True)
    start = models.IntegerField(null=True)
    end = models.IntegerField(null=True)

    class Meta:
        indexes = [models.Index(fields=["kind", "object_id", "-event"], name="audit_by_entity")]
