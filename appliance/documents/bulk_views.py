"""Pages of uploads of many files, and of what happened to one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts.sessions import actor_of, current_user, page
from appliance.documents import actions, bulk, versions
from appliance.documents.access import access_collection, access_version
from appliance.documents.models import UploadBatch
from appliance.documents.steps import steps_of
from appliance.lib.errors import BadRequest

_PAGE_LENGTH = 200


@require_POST
@page
def start(request: HttpRequest, collection_id: uuid.UUID) -> JsonResponse:
    user = current_user(request)
    batch = bulk.do_start(access_collection(user, collection_id, role="contributor"), acting_user=user)
    return JsonResponse({"batch": str(batch.pk), "address": f"/library/batches/{batch.pk}"}, status=201)


@require_POST
@page
def announce(request: HttpRequest, batch_id: uuid.UUID) -> JsonResponse:
    batch = bulk.access_batch(current_user(request), batch_id)
    try:
        files = [(str(path), int(size)) for path, size in json.loads(request.body)["files"]]
    except (ValueError, TypeError, KeyError):
        raise BadRequest('Files are listed as {"files": [[path, size in bytes], ...]}.') from None
    if any(size < 0 or not path.strip() for path, size in files):
        raise BadRequest("Each file has a path and a size.")
    return JsonResponse({"items": bulk.do_announce(batch, files)}, status=201)


@require_POST
@page
def receive(request: HttpRequest, batch_id: uuid.UUID, item_id: int) -> JsonResponse:
    user = current_user(request)
    batch = bulk.access_batch(user, batch_id)
    file = request.FILES.get("file")
    if file is None and not request.META.get("too_large"):
        raise BadRequest("No file arrived.")
    item = bulk.do_receive(batch, item_id, file, acting_user=user, actor=actor_of(request))
    return JsonResponse({"taken": item.version is not None, "error": item.error_code})


@require_GET
@page
def batch(request: HttpRequest, batch_id: uuid.UUID) -> HttpResponse:
    found = bulk.access_batch(current_user(request), batch_id)
    polled = request.headers.get("HX-Target") == "batch"
    return render(request, "documents/_batch.html" if polled else "documents/batch.html", _context(request, found))


def _context(request: HttpRequest, found: UploadBatch) -> dict[str, Any]:
    state, given = request.GET.get("state", ""), request.GET.get("page", "")
    number = int(given) if given.isascii() and given.isdigit() and len(given) < 7 else 1
    first = (max(1, number) - 1) * _PAGE_LENGTH
    shown = list(bulk.items_of(found, state)[first : first + _PAGE_LENGTH + 1])
    return {
        "batch": found,
        "tally": bulk.tally(found),
        "items": shown[:_PAGE_LENGTH],
        "more": len(shown) > _PAGE_LENGTH,
        "number": max(1, number),
        "state": state,
        "limit_mb": settings.MAX_UPLOAD_BYTES // (1024 * 1024),
        "kinds": actions.EXTENSIONS,
    }


@require_GET
@page
def unsent(request: HttpRequest, batch_id: uuid.UUID) -> JsonResponse:
    found = bulk.access_batch(current_user(request), batch_id)
    rows = bulk.items_of(found, "not_sent").values_list("pk", "path", "size_bytes")
    return JsonResponse({"items": [list(row) for row in rows]})


def _back(found: UploadBatch) -> HttpResponse:
    response = HttpResponseRedirect(f"/library/batches/{found.pk}")
    response.status_code = 303
    return response


def _acting(act: Callable[..., object]) -> Callable[..., HttpResponse]:
    @require_POST
    @page
    def view(request: HttpRequest, batch_id: uuid.UUID) -> HttpResponse:
        found = bulk.access_batch(current_user(request), batch_id)
        act(found, actor=actor_of(request))
        return _back(found)

    return view


cancel = _acting(bulk.do_cancel)
pause = _acting(bulk.do_pause)
resume = _acting(bulk.do_resume)


@require_POST
@page
def retry(request: HttpRequest, batch_id: uuid.UUID) -> HttpResponse:
    user = current_user(request)
    found = bulk.access_batch(user, batch_id)
    bulk.do_retry_failed(found, acting_user=user, actor=actor_of(request))
    return _back(found)


@require_GET
@page
def log(request: HttpRequest, document_id: uuid.UUID, n: int) -> HttpResponse:
    user = current_user(request)
    found = access_version(user, document_id, n)
    context = {
        "version": found,
        "document": found.document,
        "steps": steps_of(found),
        "may_add": versions.may_add(user, found.document),
    }
    in_drawer = request.headers.get("HX-Request") == "true"
    return render(request, "documents/_log.html" if in_drawer else "documents/log.html", context)
