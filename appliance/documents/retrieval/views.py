"""The page on which managers of a collection try its search out."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts import throttle
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.documents.access import access_collection
from appliance.documents.audited import do_search
from appliance.documents.models import ChunkTemplate
from appliance.documents.retrieval import explaining, trials, tuning
from appliance.lib.errors import ApplianceError

_SHOWN = 20


@require_GET
@page
def trial(request: HttpRequest, collection_id: uuid.UUID) -> HttpResponse:
    user = current_user(request)
    collection = access_collection(user, collection_id, role="manager")
    question = request.GET.get("q", "").strip()[:2_000]
    context: dict[str, Any] = {
        "collection": collection,
        "question": question,
        "sets": trials.sets_of(collection),
        "languages": tuning.languages(),
        "templates": ChunkTemplate.choices,
        "progress": tuning.progress(collection),
        "asked": False,
    }
    status = 200
    if question:
        try:
            throttle.take(throttle.SEARCH, user.pk)
            found = do_search(user, question, actor=actor_of(request), collection_ids=[collection.pk], k=_SHOWN)
        except ApplianceError as error:
            if error.http_status == 404:
                raise
            context["error"], status = error, error.http_status
        else:
            context |= {"asked": True, "coverage": found.coverage, "reading": found.reading}
            context["passages"] = [explaining.explain(passage) for passage in found.passages]
    return render(request, "documents/retrieval.html", context, status=status)


@require_POST
@page
def settings(request: HttpRequest, collection_id: uuid.UUID) -> HttpResponse:
    tuning.do_set_retrieval(
        collection_id,
        language=request.POST.get("language"),
        chunk_template=request.POST.get("chunk_template"),
        acting_user=current_user(request),
        actor=actor_of(request),
    )
    return HttpResponseRedirect(f"/manage/collections/{collection_id}/retrieval#settings")


@require_GET
@page
def progress(request: HttpRequest, collection_id: uuid.UUID) -> HttpResponse:
    collection = access_collection(current_user(request), collection_id, role="manager")
    context = {"collection": collection, "progress": tuning.progress(collection)}
    return render(request, "documents/_indexing.html", context)


@require_POST
@page
def create_set(request: HttpRequest, collection_id: uuid.UUID) -> HttpResponse:
    trials.do_create_set(
        collection_id, request.POST.get("name", ""), acting_user=current_user(request), actor=actor_of(request)
    )
    return HttpResponseRedirect(f"/manage/collections/{collection_id}/retrieval")


@require_POST
@page
def save_question(request: HttpRequest, collection_id: uuid.UUID, set_id: uuid.UUID) -> HttpResponse:
    trials.do_save_question(
        set_id,
        request.POST.get("q", ""),
        document_id=request.POST.get("document", ""),
        expected=request.POST.get("expected", ""),
        acting_user=current_user(request),
        actor=actor_of(request),
    )
    return HttpResponseRedirect(f"/manage/collections/{collection_id}/retrieval")


@require_POST
@page
def run_set(request: HttpRequest, collection_id: uuid.UUID, set_id: uuid.UUID) -> HttpResponse:
    trials.do_run_set(set_id, acting_user=current_user(request), actor=actor_of(request))
    return HttpResponseRedirect(f"/manage/collections/{collection_id}/retrieval#sets")


@require_POST
@page
def delete_set(request: HttpRequest, collection_id: uuid.UUID, set_id: uuid.UUID) -> HttpResponse:
    trials.do_delete_set(set_id, acting_user=current_user(request), actor=actor_of(request))
    return HttpResponseRedirect(f"/manage/collections/{collection_id}/retrieval#sets")
