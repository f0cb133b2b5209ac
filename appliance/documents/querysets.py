"""The access rule, once, as querysets. `documents.access` and the search SQL both compile from here.

A person may see a document when they are active and some grant in force allows them (on the document or on its
collection, by name or by group) and no grant in force denies them, at any level. Without a grant nothing is
visible. A collection is visible when a document grant or collection grant lets them in; its documents are then
decided one by one. What is granted or denied on a document holds for the files that came out of it, too. A token made
for some collections opens no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

if TYPE_CHECKING:
    from appliance.accounts.models import User
    from appliance.documents import models as tables  # noqa: F401  (named in strings below)
    from appliance.documents.models import Grant

#: Roles that include each role, itself first.
AT_LEAST = {
    "reader": ("reader", "contributor", "manager"),
    "contributor": ("contributor", "manager"),
    "manager": ("manager",),
}

#: How far below an uploaded file the files that came out of it may lie: a message, its archive, one inside that.
MAX_DEPTH = 3


def _in_force(user: User) -> QuerySet[Grant]:
    grants = apps.get_model("documents", "Grant").objects.all()
    groups = apps.get_model("accounts", "Membership").objects.filter(user_id=user.pk).values("group_id")
    return grants.filter(
        Q(user_id=user.pk) | Q(group_id__in=groups),
        Q(starts_at__isnull=True) | Q(starts_at__lte=Now()),
        Q(ends_at__isnull=True) | Q(ends_at__gt=Now()),
    )


def _covered_by(grants: QuerySet[Grant]) -> Q:
    """Documents that one of `grants` names: directly, through the file they came out of, or through the collection."""
    collections = grants.filter(collection__isnull=False).values("collection_id")
    named: QuerySet[Any, Any] = grants.filter(document__isnull=False).values("document_id")
    rule = Q(collection_id__in=collections) | Q(id__in=named)
    documents = apps.get_model("documents", "Document").objects.all()
    for _ in range(MAX_DEPTH):
        named = documents.filter(parent_id__in=named).values("id")
        rule |= Q(id__in=named)
    return rule


class CollectionQuerySet(models.QuerySet["tables.Collection"]):
    """Collections, as far as someone may see them."""

    def visible_to(self, user: User, *, role: str = "reader") -> CollectionQuerySet:
        """Collections on which `user` has at least `role`. For "reader", also those with one readable document."""
        if not user.is_active:
            return self.none()
        grants = _in_force(user)
        allowed = grants.filter(effect="allow", role__in=AT_LEAST[role])
        by_collection = Exists(allowed.filter(collection_id=OuterRef("pk")))
        denied = Exists(grants.filter(effect="deny", collection_id=OuterRef("pk")))
        rule: Exists | Q = by_collection
        if role == "reader":
            rule = by_collection | Exists(allowed.filter(document__collection_id=OuterRef("pk")))
        found = self.filter(rule, ~denied)
        return found if user.only_collections is None else found.filter(pk__in=user.only_collections)


class DocumentQuerySet(models.QuerySet["tables.Document"]):
    """Documents, as far as someone may see them."""

    def visible_to(self, user: User) -> DocumentQuerySet:
        """Documents `user` may read now. Starts from nothing."""
        if not user.is_active:
            return self.none()
        grants = _in_force(user)
        allowed, denied = grants.filter(effect="allow"), grants.filter(effect="deny")
        found = self.filter(_covered_by(allowed)).exclude(_covered_by(denied))
        return found if user.only_collections is None else found.filter(collection_id__in=user.only_collections)
