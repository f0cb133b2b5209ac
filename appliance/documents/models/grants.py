"""Who may see what: grants, walls, and glass that was broken."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from appliance.documents.models.collections import Collection
from appliance.documents.models.documents import Document


class GrantRole(models.TextChoices):
    """What a grant allows on its target. Each includes the ones before it."""

    READER = "reader", "Can read"
    CONTRIBUTOR = "contributor", "Can add documents"
    MANAGER = "manager", "Can change access"


class Effect(models.TextChoices):
    """A deny is a wall: it beats every allow."""

    ALLOW = "allow", "Allow"
    DENY = "deny", "Deny"


class Wall(models.Model):
    """An ethical wall: its members see none of its targets, whoever else lets them in, until it is lifted.

    What it says is compiled into deny grants, one for each member and target: those decide.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=150, unique=True)
    reason = models.TextField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="walls")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    def __str__(self) -> str:
        return self.name


_ONE_PRINCIPAL = Q(user__isnull=True, group__isnull=False) | Q(user__isnull=False, group__isnull=True)
_ONE_TARGET = Q(collection__isnull=True, document__isnull=False) | Q(collection__isnull=False, document__isnull=True)


class WallMember(models.Model):
    """A person or a group kept out."""

    wall = models.ForeignKey(Wall, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    group = models.ForeignKey("accounts.Group", null=True, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(name="wall_member_is_one", condition=_ONE_PRINCIPAL),
            models.UniqueConstraint(fields=["wall", "user"], name="wall_user_once", condition=Q(group=None)),
            models.UniqueConstraint(fields=["wall", "group"], name="wall_group_once", condition=Q(user=None)),
        ]


class WallTarget(models.Model):
    """A collection or a document behind the wall."""

    wall = models.ForeignKey(Wall, on_delete=models.CASCADE, related_name="targets")
    collection = models.ForeignKey(Collection, null=True, on_delete=models.CASCADE, related_name="+")
    document = models.ForeignKey(Document, null=True, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(name="wall_target_is_one", condition=_ONE_TARGET),
            models.UniqueConstraint(
                fields=["wall", "collection"], name="wall_collection_once", condition=Q(document=None)
            ),
            models.UniqueConstraint(
                fields=["wall", "document"], name="wall_document_once", condition=Q(collection=None)
            ),
        ]


class Finding(models.TextChoices):
    """What a reviewer says of a break-glass."""

    JUSTIFIED = "justified", "Justified"
    NOT_JUSTIFIED = "not_justified", "Not justified"


class BreakGlass(models.Model):
    """A person opened a collection for a while on their own word. Open until it is reviewed by someone else.

    While it is in force a grant of its own lets the person in; a deny keeps them out all the same.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="broken_glass")
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="broken_glass")
    reason = models.TextField()
    reference = models.CharField(max_length=100)  # of the patient or the matter
    started_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)  # ended early, by the person or by compliance
    reviewed_at = models.DateTimeField(null=True)
    reviewed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    finding = models.CharField(max_length=20, choices=Finding, blank=True)
    note = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["reviewed_at", "-started_at"], name="break_glass_to_review")]


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
    # What it was compiled from, when nobody made it by itself: it goes with that.
    wall = models.ForeignKey(Wall, null=True, on_delete=models.CASCADE, related_name="grants")
    break_glass = models.ForeignKey(BreakGlass, null=True, on_delete=models.CASCADE, related_name="grants")

    class Meta:
        constraints = [
            models.CheckConstraint(name="grant_one_principal", condition=_ONE_PRINCIPAL),
            models.CheckConstraint(name="grant_one_target", condition=_ONE_TARGET),
            models.CheckConstraint(
                name="grant_ends_after_start",
                condition=Q(starts_at__isnull=True) | Q(ends_at__isnull=True) | Q(starts_at__lt=models.F("ends_at")),
            ),
        ]
