"""What a compliance officer keeps: filters, alerts to acknowledge, reviews to sign off; and what was verified."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone


class SavedFilter(models.Model):
    """A search of the audit under a name, for its owner alone or for all officers."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.UUIDField()
    name = models.CharField(max_length=100)
    query = models.CharField(max_length=2000)  # as in the page's address
    shared = models.BooleanField(default=False)
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="audit_filter_name")]


class AlertRule(models.TextChoices):
    """What is noticed without anybody looking."""

    BULK_READING = "bulk_reading", "Many documents in a short time"
    AFTER_HOURS = "after_hours", "Use outside working hours"
    WALL_TOUCHED = "wall_touched", "A walled document was asked for"
    REPEATED_REFUSALS = "repeated_refusals", "Refused again and again"
    BREAK_GLASS = "break_glass", "Emergency access"
    SEAL_BEHIND = "seal_behind", "The sealing of the audit is behind"


class Alert(models.Model):
    """Something that an officer must look at. `key` says what it is about: raised once, then counted up."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    rule = models.CharField(max_length=20, choices=AlertRule)
    key = models.CharField(max_length=200, unique=True)
    raised_at = models.DateTimeField(default=timezone.now)
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(max_length=150, blank=True)
    subject_kind = models.CharField(max_length=20, blank=True)
    subject_id = models.CharField(max_length=64, blank=True)
    num_events = models.IntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    first_event = models.BigIntegerField(null=True)
    last_event = models.BigIntegerField(null=True)
    acknowledged_by = models.UUIDField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=1000, blank=True)

    class Meta:
        indexes = [models.Index(fields=["acknowledged_at", "-raised_at"], name="audit_alert_queue")]


class Review(models.Model):
    """A look at a period by an officer, with findings, signed off at a checkpoint."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    officer = models.UUIDField()
    begun_at = models.DateTimeField(default=timezone.now)
    findings = models.TextField(blank=True, max_length=10_000)
    num_events = models.IntegerField(default=0)
    num_alerts = models.IntegerField(default=0)
    checkpoint_size = models.BigIntegerField(null=True)
    signed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["-period_end"], name="audit_review_latest")]


class Verification(models.Model):
    """One walk over everything sealed: up to which size, and what was wrong. `problem` is empty when it is sound."""

    at = models.DateTimeField(default=timezone.now)
    size = models.BigIntegerField()
    sound = models.BooleanField()
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        indexes = [models.Index(fields=["-at"], name="audit_verified_latest")]


class Watermark(models.Model):
    """How far the rules for alerts have looked: every event before (xid, event) of `cluster` was seen by them.

    After a restore into another cluster, where transaction ids begin anew, `event` alone counts.
    """

    name = models.CharField(max_length=20, primary_key=True)
    cluster = models.CharField(max_length=40)
    xid = models.BigIntegerField()
    event = models.BigIntegerField()
