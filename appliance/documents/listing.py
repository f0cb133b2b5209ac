"""What the library shows of documents: the newest version of each, filters, and who let the reader in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, F, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Now

from appliance.accounts.models import Membership, User
from appliance.documents.access import collections_for, documents_for
from appliance.documents.models import UNFINISHED, Collection, Document, DocumentVersion, Grant, VersionStatus

PAGE_LENGTH = 50
TROUBLED = (VersionStatus.FAILED, VersionStatus.QUARANTINED)
TABS = (("", "All"), ("adding", "Being added"), ("attention", "Needs attention"))
SORTS = (("newest", "Newest first"), ("title", "Title"))


@dataclass(frozen=True, slots=True)
class Row:
    """A document with its newest version, which need not be the one that is searched."""

    document: Document
    latest: DocumentVersion
    in_use: DocumentVersion | None
    may_add: bool

    @property
    def finished(self) -> bool:
        return self.latest.is_finished


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of rows and the figures of the tabs above it."""

    rows: list[Row]
    tabs: list[tuple[str, str, int]]
    first: int
    num_matching: int
    page: int
    has_next: bool

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    @property
    def unfinished(self) -> bool:
        return any(not row.finished for row in self.rows)


def _with_latest(documents: QuerySet[Document]) -> QuerySet[Document]:
    newest = DocumentVersion.objects.filter(document=OuterRef("pk")).order_by("-n")
    return documents.annotate(
        latest_status=Subquery(newest.values("status")[:1]),
        latest_at=Subquery(newest.values("created_at")[:1]),
    )


def listing(
    user: User,
    collection: Collection | None,
    *,
    tab: str = "",
    query: str = "",
    sort: str = "newest",
    page: int = 1,
) -> Listing:
    """The documents `user` may read, of one collection or of all."""
    documents = documents_for(user)
    if collection is not None:
        documents = documents.filter(collection=collection)
    if query:
        documents = documents.filter(Q(title__icontains=query) | Q(filename__icontains=query))
    documents = _with_latest(documents).filter(latest_status__isnull=False)  # type: ignore[misc]
    filters = {"": Q(), "adding": Q(latest_status__in=UNFINISHED), "attention": Q(latest_status__in=TROUBLED)}
    figures = documents.order_by().aggregate(
        all=Count("pk"),
        adding=Count("pk", filter=filters["adding"]),
        attention=Count("pk", filter=filters["attention"]),
    )
    tabs = [(key, label, int(figures[key or "all"])) for key, label in TABS]
    matching = documents.filter(filters.get(tab, Q()))
    matching = matching.order_by("title", "id") if sort == "title" else matching.order_by("-latest_at", "id")  # type: ignore[misc]
    first = (page - 1) * PAGE_LENGTH
    found = list(_prefetched(matching)[first : first + PAGE_LENGTH + 1])
    may_add = set(collections_for(user, "contributor").values_list("pk", flat=True))
    rows = [_row(document, may_add) for document in found[:PAGE_LENGTH]]
    num_matching = next((figure for key, _, figure in tabs if key == tab), 0)
    return Listing(rows, tabs, first + 1, num_matching, page, len(found) > PAGE_LENGTH)


def row_of(user: User, document: Document) -> Row | None:
    """The row of one document, as the library draws it; None when it has no version."""
    may_add = set(collections_for(user, "contributor").filter(pk=document.collection_id).values_list("pk", flat=True))
    found = _prefetched(Document.objects.filter(pk=document.pk)).first()
    return _row(found, may_add) if found and found.versions.all() else None


def _prefetched(documents: QuerySet[Document]) -> QuerySet[Document]:
    versions = DocumentVersion.objects.order_by("-n")
    return documents.select_related("collection", "current_version").prefetch_related(
        Prefetch("versions", queryset=versions)
    )


def _row(document: Document, may_add: set[uuid.UUID]) -> Row:
    latest = document.versions.all()[0]
    return Row(document, latest, document.current_version, document.collection_id in may_add)


def counted_collections(user: User) -> list[tuple[Collection, int]]:
    """Collections with the number of documents in them that `user` may read."""
    counts = documents_for(user).order_by().values_list("collection_id").annotate(num=Count("pk"))
    by_id = dict(counts)
    return [(collection, by_id.get(collection.pk, 0)) for collection in collections_for(user)]


def grants_letting_in(user: User, document: Document) -> Sequence[Grant]:
    """The grants in force that allow `user` to read `document`: on it first, then on its collection."""
    groups = Membership.objects.filter(user=user).values("group_id")
    return list(
        Grant.objects.filter(
            Q(user=user) | Q(group_id__in=groups),
            Q(document=document) | Q(collection_id=document.collection_id),
            Q(starts_at__isnull=True) | Q(starts_at__lte=Now()),
            Q(ends_at__isnull=True) | Q(ends_at__gt=Now()),
            effect="allow",
        )
        .select_related("group", "collection", "document", "created_by")
        .order_by(F("document").asc(nulls_last=True), "created_at")
    )
