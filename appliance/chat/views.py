"""The chat pages. Asking and following are async: the generation is a task of the event loop."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts import throttle
from appliance.accounts.models import User
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.audit.record import Actor
from appliance.chat import actions, generations, pages, streaming
from appliance.chat.models import Conversation, Message
from appliance.documents.listing import counted_collections
from appliance.lib.redirects import see_other
from appliance.lib.threads import in_thread

EFFORTS = (("low", "Low"), ("medium", "Medium"), ("high", "High"))
_CONVERSATIONS_SHOWN = 200


def _is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def _page_number(request: HttpRequest) -> int | None:
    given = request.GET.get("page") or request.GET.get("go", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 8 else None


def _chat_context(request: HttpRequest, conversation: Conversation | None) -> dict[str, Any]:
    user = current_user(request)
    turns = pages.turns_of(conversation) if conversation else []
    pending = next((turn.message for turn in turns if not turn.message.is_finished), None)
    if conversation:
        selected = {str(pk) for pk in conversation.collections.values_list("pk", flat=True)}
    else:
        selected = set(request.GET.getlist("collections"))
    collections = counted_collections(user)
    return {
        "conversation": conversation,
        "turns": turns,
        "pending": pending,
        "groups": pages.by_day(actions.conversations_of(user)[:_CONVERSATIONS_SHOWN]),
        "collections": [(item, num, str(item.pk) in selected) for item, num in collections],
        "num_documents": sum(num for _, num in collections),
        "any_selected": any(str(item.pk) in selected for item, _ in collections),
        "efforts": EFFORTS,
        "effort": turns[-1].message.effort if turns else "medium",
    }


@require_GET
@page
def new_chat(request: HttpRequest) -> HttpResponse:
    return render(request, "chat/chat.html", _chat_context(request, None))


@require_GET
@page
def conversation(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    found = actions.do_open(current_user(request), actor_of(request), conversation_id)
    return render(request, "chat/chat.html", _chat_context(request, found))


@require_GET
@page
def conversations(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:200]
    found = actions.conversations_of(current_user(request), query)[:_CONVERSATIONS_SHOWN]
    context = {"groups": pages.by_day(found), "query": query, "conversation": None}
    template = "chat/_conversations.html" if _is_htmx(request) else "chat/conversations.html"
    return render(request, template, context)


async def _ask(
    request: HttpRequest,
    *,
    text: str,
    conversation_id: uuid.UUID | None,
    collection_ids: list[str],
    effort: str,
) -> HttpResponse:
    user, actor = await in_thread(_who, request)
    await in_thread(throttle.take, throttle.CHAT, user.pk)
    asked = await in_thread(
        actions.do_ask,
        user=user,
        actor=actor,
        text=text,
        conversation_id=conversation_id,
        collection_ids=collection_ids,
        effort=effort,
    )
    generations.start(asked.answer.pk, actor=actor)
    address = f"/chat/{asked.conversation.pk}"
    if not _is_htmx(request):
        return see_other(address)
    if conversation_id is None:
        response = HttpResponse(status=204)
        response["HX-Redirect"] = address
        return response
    return await in_thread(_asked, request, asked)


def _who(request: HttpRequest) -> tuple[User, Actor]:
    return current_user(request), actor_of(request)


def _asked(request: HttpRequest, asked: actions.Asked) -> HttpResponse:
    context = {
        "conversation": asked.conversation,
        "new_turns": [pages.Turn(asked.question), pages.turn_of(asked.answer)],
        "pending": asked.answer,
        "oob": True,
    }
    response = render(request, "chat/_asked.html", context)
    response["HX-Push-Url"] = f"/chat/{asked.conversation.pk}"
    return response


@require_POST
@page
async def ask(request: HttpRequest) -> HttpResponse:
    form = await in_thread(lambda: request.POST)
    given = form.get("conversation", "")
    found = await in_thread(_conversation_id, request, given) if given else None
    return await _ask(
        request,
        text=form.get("text", ""),
        conversation_id=found,
        collection_ids=form.getlist("collections"),
        effort=form.get("effort", "medium"),
    )


def _conversation_id(request: HttpRequest, given: str) -> uuid.UUID:
    return actions.access_conversation(current_user(request), given).pk


@require_POST
@page
async def again(request: HttpRequest, answer_id: uuid.UUID) -> HttpResponse:
    def question_of() -> tuple[Message, list[str], str]:
        answer = actions.access_answer(current_user(request), answer_id)
        asked = answer.conversation.messages.filter(role="user", ordinal__lt=answer.ordinal)
        scope = [str(pk) for pk in answer.conversation.collections.values_list("pk", flat=True)]
        return asked.order_by("-ordinal")[0], scope, answer.effort

    question, scope, effort = await in_thread(question_of)
    return await _ask(
        request,
        text=question.text,
        conversation_id=question.conversation_id,
        collection_ids=scope,
        effort=effort,
    )


@require_GET
@page
async def stream(request: HttpRequest, answer_id: uuid.UUID) -> HttpResponseBase:
    await in_thread(lambda: actions.access_answer(current_user(request), answer_id))

    def message_html(finished_id: uuid.UUID) -> str:
        turn = pages.reload_turn(finished_id)
        context = {"turn": turn, "conversation": turn.message.conversation, "pending": None, "oob": True}
        return render_to_string("chat/_finished.html", context, request=request)

    response = StreamingHttpResponse(streaming.stream(answer_id, message_html), content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"
    return response


@require_POST
@page
def stop(request: HttpRequest, answer_id: uuid.UUID) -> HttpResponse:
    user = current_user(request)
    answer = actions.access_answer(user, answer_id)
    actions.do_stop(user, answer_id)
    return HttpResponse(status=204) if _is_htmx(request) else see_other(f"/chat/{answer.conversation_id}")


@require_GET
@page
def source(request: HttpRequest, answer_id: uuid.UUID, number: int) -> HttpResponse:
    user, actor = _who(request)
    opened = pages.open_source(user, actor, answer_id, number, _page_number(request))
    template = "chat/_source.html" if _is_htmx(request) else "chat/source.html"
    context = {
        "opened": opened,
        "view": opened.view,
        "blocks": opened.blocks,
        "sheet": opened.sheet,
        "marked": opened.on_cited_page,
    }
    return render(request, template, context)


@require_POST
@page
def rename(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    actions.do_rename(current_user(request), conversation_id, request.POST.get("title", ""))
    return see_other(f"/chat/{conversation_id}")


@require_POST
@page
def delete(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    user, actor = _who(request)
    actions.do_delete_conversation(user, actor, conversation_id)
    return see_other("/")
