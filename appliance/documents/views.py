"""The library and the document viewer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts.models import User
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.documents import actions, listing, pages, paper, versions, viewer, viewer_find
from appliance.documents.access import access_collection, access_document, access_version, collections_for
from appliance.documents.models import Collection, DocumentVersion, VersionStatus
from appliance.documents.uploads import too_large
from appliance.lib.errors import ApplianceError, BadRequest, NotFound
from appliance.lib.failures import translate

_THUMBS_AROUND = 12


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one file of an upload."""

    name: str
    version: DocumentVersion | None = None
    error: ApplianceError | None = None


def _number(request: HttpRequest, name: str) -> int | None:
    given = request.GET.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else None


def _is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def _library_context(
    request: HttpRequest, collection: Collection | None, *, may_add: bool | None = None
) -> dict[str, Any]:
    user = current_user(request)
    if may_add is None:
        addable = collections_for(user, "contributor")
        may_add = collection is not None and addable.filter(pk=collection.pk).exists()
    tab, sort = request.GET.get("tab", ""), request.GET.get("sort", "newest")
    query = request.GET.get("q", "").strip()[:200]
    found = listing.listing(
        user, collection, tab=tab, query=query, sort=sort, page=max(1, _number(request, "page") or 1)
    )
    return {
        "collection": collection,
        "collections": listing.counted_collections(user),
        "listing": found,
        "tab": tab,
        "sort": sort,
        "query": query,
        "sorts": listing.SORTS,
        "may_add": may_add,
        "may_manage": may_add and collection is not None and _manages(user, collection),
        "limit_mb": settings.MAX_UPLOAD_BYTES // (1024 * 1024),
        "kinds": actions.EXTENSIONS,
        "here": f"/library/{collection.pk}" if collection else "/library",
    }


def _manages(user: User, collection: Collection) -> bool:
    return collections_for(user, "manager").filter(pk=collection.pk).exists()


@require_GET
@page
def library(request: HttpRequest) -> HttpResponse:
    context = _library_context(request, None)
    return render(request, "documents/_table.html" if _is_htmx(request) else "documents/library.html", context)


@require_GET
@page
def collection(request: HttpRequest, collection_id: uuid.UUID) -> HttpResponse:
    found = access_collection(current_user(request), collection_id)
    context = _library_context(request, found)
    return render(request, "documents/_table.html" if _is_htmx(request) else "documents/library.html", context)


@require_POST
@page
def upload(request: HttpRequest, collection_id: uuid.UUID) -> HttpResponse:
    user = current_user(request)
    found = access_collection(user, collection_id, role="contributor")
    received = []
    for file in request.FILES.getlist("file"):
        name = file.name or "file"
        try:
            version = actions.do_upload(
                collection=found, filename=name, file=file, acting_user=user, actor=actor_of(request)
            )
        except Exception as failure:  # each file is answered by name; one refusal must not lose the others
            received.append(Received(name, error=translate(failure)))
        else:
            received.append(Received(name, version=version))
    received += [Received(name, error=too_large(name)) for name in request.META.get("too_large", [])]
    context = _library_context(request, found, may_add=True) | {"received": received, "nothing": not received}
    template = "documents/_uploaded.html" if _is_htmx(request) else "documents/library.html"
    return render(request, template, context)


@require_GET
@page
def row(request: HttpRequest, document_id: uuid.UUID) -> HttpResponse:
    user = current_user(request)
    found = listing.row_of(user, access_document(user, document_id))
    if found is None:
        raise NotFound()
    return render(request, "documents/_row.html", {"row": found, "polled": True})


@require_GET
@page
def document(request: HttpRequest, document_id: uuid.UUID) -> HttpResponse:
    found = access_document(current_user(request), document_id)
    newest = found.current_version or found.versions.order_by("-n").first()
    if newest is None:
        raise NotFound()
    return HttpResponseRedirect(f"/documents/{found.pk}/v/{newest.n}")


@require_GET
@page
def version(request: HttpRequest, document_id: uuid.UUID, n: int) -> HttpResponse:
    user = current_user(request)
    found = access_version(user, document_id, n)
    if request.headers.get("X-Polling"):  # from the page that waits for it: nothing is shown, it is opened anew
        return HttpResponse(status=204, headers={"HX-Refresh": "true"} if found.is_finished else {})
    context = _inspector_context(user, found)
    if found.status != VersionStatus.READY:
        return render(request, "documents/not_ready.html", context)
    turned_to = _number(request, "page") or _number(request, "go")
    page_number, find = turned_to or 1, request.GET.get("q", "").strip()
    start, end = _number(request, "start"), _number(request, "end")
    found_here, match = None, None
    if find:
        found_here = viewer_find.do_find(user=user, actor=actor_of(request), document_id=document_id, n=n, query=find)
        number = _number(request, "m")
        # Turning the page by hand keeps the search and leaves its matches.
        if number is not None or turned_to is None:
            match = found_here.at(number, _number(request, "after") or 1)
        start, end = (match.start, match.end) if match else (None, None)
        page_number = match.page if match else page_number
    view = pages.do_open_page(user=user, actor=actor_of(request), document_id=document_id, n=n, page=page_number)
    context |= _reader_context(view, start, end, finds=found_here.matches if found_here else [])
    context |= {
        "find": found_here,
        "match": match,
        "previous_match": found_here.before(match, view.page) if found_here else None,
        "next_match": found_here.after(match, view.page) if found_here else None,
        "thumbs": range(max(1, view.page - _THUMBS_AROUND), min(view.num_pages, view.page + _THUMBS_AROUND) + 1),
        "back": _conversation_id(request),
    }
    context["keep"] = _keep(context)
    return render(request, "documents/document.html", context)


def _reader_context(
    view: pages.PageView, start: int | None, end: int | None, *, finds: list[viewer_find.Match]
) -> dict[str, Any]:
    """One page as text and, where it has one, as it looks, with text[start:end] marked on both."""
    blocks = paper.blocks_of(view.text, offset=view.start, sections=view.sections, mark_start=start, mark_end=end)
    marked = paper.has_mark(blocks)
    spans = [(start, end)] if marked and start is not None and end is not None else []
    others = [(item.start, item.end) for item in finds if item.page == view.page and item.start != start]
    sheet = viewer.sheet_of(view, spans, finds=others)
    return {"view": view, "blocks": blocks, "marked": marked, "start": start, "end": end, "sheet": sheet}


def _keep(context: dict[str, Any]) -> str:
    """What the addresses of other pages carry on: the search, or the passage that was opened."""
    if context["find"]:
        return "&" + urlencode({"q": context["find"].query})
    if context["start"] is not None and context["end"] is not None:
        return "&" + urlencode({"start": context["start"], "end": context["end"]})
    return ""


@require_GET
@page
def sheet(request: HttpRequest, document_id: uuid.UUID, n: int, number: int) -> HttpResponse:
    cut = viewer.do_open_sheet(
        user=current_user(request), actor=actor_of(request), document_id=document_id, n=n, page=number
    )
    response = HttpResponse(cut, content_type="application/pdf")
    response["Content-Disposition"] = "inline"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _conversation_id(request: HttpRequest) -> str:
    """The conversation to go back to: only ever part of a local address."""
    try:
        return str(uuid.UUID(request.GET.get("from", "")))
    except ValueError:
        return ""


def _inspector_context(user: User, found: DocumentVersion) -> dict[str, Any]:
    document = found.document
    manages = _manages(user, document.collection)
    return {
        "version": found,
        "document": document,
        "is_current": document.current_version_id == found.pk,
        "versions": list(document.versions.select_related("created_by").order_by("-n")),
        "grants": listing.grants_letting_in(user, document),
        "may_add": versions.may_add(user, document),
        "may_manage": manages,
        "may_delete": manages and not document.collection.legal_hold,
    }


@require_GET
@page
def download(request: HttpRequest, document_id: uuid.UUID, n: int) -> HttpResponseBase:
    found, content = actions.do_download(
        user=current_user(request), actor=actor_of(request), document_id=document_id, n=n
    )
    response = StreamingHttpResponse(content, content_type=found.media_type or "application/octet-stream")
    name = found.document.filename
    ascii_name = name.encode("ascii", "replace").decode().replace('"', "_").replace("\\", "_")
    response["Content-Disposition"] = f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name)}"
    response["Content-Length"] = str(found.size_bytes)
    response["X-Content-Type-Options"] = "nosniff"
    return response


@require_POST
@page
def delete(request: HttpRequest, document_id: uuid.UUID) -> HttpResponse:
    user = current_user(request)
    found = access_document(user, document_id)
    actions.do_delete_document(document_id, acting_user=user, actor=actor_of(request))
    response = HttpResponseRedirect(f"/library/{found.collection_id}")
    response.status_code = 303
    return response


def _to_version(found: DocumentVersion) -> HttpResponse:
    response = HttpResponseRedirect(f"/documents/{found.document_id}/v/{found.n}")
    response.status_code = 303
    return response


@require_POST
@page
def add_version(request: HttpRequest, document_id: uuid.UUID) -> HttpResponse:
    access_document(current_user(request), document_id)
    file = request.FILES.get("file")
    if file is None:
        names = request.META.get("too_large")
        raise too_large(names[0]) if names else BadRequest("No file arrived.", hint="Choose a file, then add it.")
    added = versions.do_add_version(
        document_id,
        filename=file.name or "",
        file=file,
        acting_user=current_user(request),
        actor=actor_of(request),
    )
    return _to_version(added)


@require_POST
@page
def make_current(request: HttpRequest, document_id: uuid.UUID, n: int) -> HttpResponse:
    return _to_version(
        versions.do_make_current(document_id, n, acting_user=current_user(request), actor=actor_of(request))
    )


@require_POST
@page
def retry(request: HttpRequest, document_id: uuid.UUID, n: int) -> HttpResponse:
    return _to_version(versions.do_retry(document_id, n, acting_user=current_user(request), actor=actor_of(request)))


@require_POST
@page
def password(request: HttpRequest, document_id: uuid.UUID, n: int) -> HttpResponse:
    given = request.POST.get("password", "")
    return _to_version(
        versions.do_retry(document_id, n, password=given, acting_user=current_user(request), actor=actor_of(request))
    )


@require_POST
@page
def retry_failed(request: HttpRequest, collection_id: uuid.UUID) -> HttpResponse:
    user = current_user(request)
    found = access_collection(user, collection_id, role="contributor")
    versions.do_retry_failed(found, acting_user=user, actor=actor_of(request))
    response = HttpResponseRedirect(f"/library/{found.pk}?tab=adding")
    response.status_code = 303
    return response
