"""What the sealer writes: which event is which leaf, the tree's tiles, and its signed heads.

Its database role alone may add to `Leaf`, `Tile`, `Checkpoint` and `SealKey`; nobody may change or remove a row.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from appliance.audit.models.events import AuditEvent


class Leaf(models.Model):
    """The place of an event in the tree, from 0. Events are sealed in the order in which they could be seen."""

    index = models.BigIntegerField(primary_key=True)
    event = models.OneToOneField(AuditEvent, on_delete=models.PROTECT, related_name="leaf", db_constraint=False)


class Tile(models.Model):
    """256 hashes of one level of the tree, each of the root of 256**level leaves (see `audit.tree`)."""

    level = models.SmallIntegerField()
    index = models.BigIntegerField()
    hashes = models.BinaryField(max_length=8192)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["level", "index"], name="audit_tile_place")]


class SealKey(models.Model):
    """A key that signs checkpoints. `statement` is a signed note that names it: by itself for the first, and by the
    key before it for every later one."""

    name = models.CharField(max_length=100)
    public_key = models.CharField(max_length=200, unique=True)  # name+hash+base64
    statement = models.TextField()
    since_size = models.BigIntegerField()
    made_at = models.DateTimeField(default=timezone.now)


class Checkpoint(models.Model):
    """A signed head. `note` is the evidence (see `audit.notes`), the other columns repeat it.

    Every event with a transaction below `horizon` of the database cluster `cluster` has its leaf.
    """

    size = models.BigIntegerField(unique=True)
    root = models.BinaryField(max_length=32)
    note = models.TextField()
    signed_at = models.DateTimeField(default=timezone.now)
    horizon = models.BigIntegerField()
    cluster = models.CharField(max_length=40)


class Delivery(models.Model):
    """A checkpoint that left the appliance, or could not: `channel` is "file", "syslog", "download" or "screen"."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="deliveries")
    channel = models.CharField(max_length=20)
    target = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(default=timezone.now)
    problem = models.CharField(max_length=300, blank=True)  # empty: it arrived

    class Meta:
        indexes = [models.Index(fields=["channel", "-at"], name="audit_delivery_latest")]


class CoSignature(models.Model):
    """A compliance officer's own signature below a checkpoint, made with a key that the appliance never has."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="cosignatures")
    officer = models.UUIDField()
    public_key = models.CharField(max_length=200)
    line = models.CharField(max_length=300)
    at = models.DateTimeField(default=timezone.now)
