"""/v1: the OpenAI-compatible gateway. `extra_body={"collections": [...]}` makes an answer grounded.

A grounded answer is searched under the caller's rights and recorded like one of the chat page. Its text names
sources as [n]; `message.annotations` (in a stream: the last delta) tells where each n is. Without `collections` the
messages are relayed to the model as they are, and recorded without a disclosure: no document is shown.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Literal, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.accounts import throttle
from appliance.accounts.models import User
from appliance.accounts.sessions import actor_of
from appliance.api.auth import authenticate
from appliance.api.relay import CHAT, EMBEDDINGS, RESPONSES, Relay, Route, relay
from appliance.chat.answering import Completed, Question, Written, answer, check_question
from appliance.chat.grounding.holder import AnswerHolder
from appliance.chat.grounding.prompt import Turn
from appliance.lib import sse
from appliance.lib.errors import ApplianceError, BadRequest, NotFound
from appliance.lib.failures import openai_error, respond, translate
from appliance.lib.threads import in_thread
from appliance.llm import client

_OWN_MARK = re.compile(r"【(\d+)】")


class ChatMessage(BaseModel):
    """One message; unknown fields travel on."""

    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The content as plain text."""
        if isinstance(self.content, list):
            return "".join(str(part.get("text", "")) for part in self.content if part.get("type") == "text")
        return self.content or ""


class StreamOptions(BaseModel):
    """What a stream holds beside the answer."""

    model_config = ConfigDict(extra="allow")
    include_usage: bool = False


class ChatRequest(BaseModel):
    """What is read of a request; the rest is relayed for a plain chat and ignored for a grounded one."""

    model_config = ConfigDict(extra="allow")
    model: str = Field(max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=1_000)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    reasoning_effort: Literal["low", "medium", "high"] = "medium"
    collections: list[str] | None = Field(default=None, max_length=100)


class PlainRequest(BaseModel):
    """What is read of a request that is only relayed."""

    model_config = ConfigDict(extra="allow")
    model: str = Field(max_length=200)
    stream: bool = False


BodyT = TypeVar("BodyT", bound=BaseModel)


@csrf_exempt
async def models(request: HttpRequest) -> HttpResponse:
    """GET /v1/models: what answers can be asked of."""
    try:
        await _caller(request)
        names = [name for name in await in_thread(client.models) if name != settings.EMBEDDING_MODEL]
        entries = [{"id": name, "object": "model", "created": 0, "owned_by": "appliance"} for name in names]
        return JsonResponse({"object": "list", "data": entries})
    except Exception as error:
        return respond(request, error)


@csrf_exempt
async def chat_completions(request: HttpRequest) -> HttpResponseBase:
    """POST /v1/chat/completions, streaming or not."""
    try:
        user = await _caller(request)
        if request.method != "POST":
            raise NotFound()
        body = _parse(ChatRequest, request.body)
        if body.collections is not None and body.messages[-1].role != "user":
            raise BadRequest("The last message of a grounded chat is the user's question.", code="invalid_request")
        if body.collections is not None:
            _check_grounded(body)
        known = await in_thread(client.models)
        if body.model not in known or body.model == settings.EMBEDDING_MODEL:
            raise NotFound(f"There is no model named {body.model!r}.", code="model_not_found")
        actor = actor_of(request)
        await sync_to_async(throttle.take)(throttle.CHAT, user.pk)
        await sync_to_async(connections.close_all)()
        if body.collections is None:
            raw = {key: value for key, value in json.loads(request.body).items() if key != "collections"}
            return await relay(Relay(CHAT, user, actor, raw, body.stream))
        question = Question(
            user=user,
            actor=actor,
            text=check_question(body.messages[-1].text),
            collection_ids=tuple(body.collections),
            history=_history(body),
            effort=body.reasoning_effort,
            model=body.model,
        )
        if body.stream:
            return await _streamed(question, usage=body.stream_options.include_usage)
        return JsonResponse(await _whole(question))
    except Exception as error:
        return respond(request, error)


@csrf_exempt
async def responses(request: HttpRequest) -> HttpResponseBase:
    """POST /v1/responses, streaming or not: always plain."""
    return await _plain(request, RESPONSES)


@csrf_exempt
async def embeddings(request: HttpRequest) -> HttpResponseBase:
    """POST /v1/embeddings."""
    return await _plain(request, EMBEDDINGS)


async def _plain(request: HttpRequest, route: Route) -> HttpResponseBase:
    try:
        user = await _caller(request)
        if request.method != "POST":
            raise NotFound()
        body = _parse(PlainRequest, request.body)
        raw = json.loads(request.body)
        if "collections" in raw:
            raise BadRequest(
                "This path answers without documents.",
                hint="Ask for grounded answers at /v1/chat/completions.",
                code="unsupported_parameter",
            )
        known = await in_thread(client.models)
        if body.model not in known or (body.model == settings.EMBEDDING_MODEL) != (route is EMBEDDINGS):
            raise NotFound(f"There is no model named {body.model!r}.", code="model_not_found")
        await sync_to_async(throttle.take)(throttle.CHAT, user.pk)
        await sync_to_async(connections.close_all)()
        return await relay(Relay(route, user, actor_of(request), raw, body.stream and route is not EMBEDDINGS))
    except Exception as error:
        return respond(request, error)


async def _caller(request: HttpRequest) -> User:
    await request.auser()
    user = await sync_to_async(authenticate)(request)
    await sync_to_async(connections.close_all)()  # a stream must not keep one
    return user


def _parse(kind: type[BodyT], raw: bytes) -> BodyT:
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{place or 'body'}: {first['msg']}.", code="invalid_request") from None


def _check_grounded(body: ChatRequest) -> None:
    """What only a plain chat can do is refused, not left out: the answer would look as if it had been done."""
    given = body.model_extra or {}
    if given.get("tools"):
        wrong = "tools"
    elif (given.get("response_format") or {"type": "text"}) != {"type": "text"}:
        wrong = "response_format"
    elif given.get("n") not in (None, 1):
        wrong = "n"
    else:
        return
    raise BadRequest(
        f"{wrong}: A grounded answer cannot be combined with this.",
        hint="Leave out `collections` for a plain chat.",
        code="unsupported_parameter",
    )


def _history(body: ChatRequest) -> tuple[Turn, ...]:
    return tuple(Turn(m.role, m.text) for m in body.messages[:-1] if m.role in ("user", "assistant") and m.text)


def file_citations(holder: AnswerHolder) -> list[dict[str, Any]]:
    """One file_citation per place in the text that names a source. Offsets are code points of the version's text."""
    return [
        {
            "type": "file_citation",
            "number": cited.number,
            "file_id": str(cited.passage.passage.document_id),
            "filename": cited.passage.passage.title,
            "version": cited.passage.passage.version,
            "page": cited.page,
            "start": cited.start,
            "end": cited.end,
            "quote": cited.quote,
            "verified": cited.verified,
        }
        for cited in holder.citations
    ]


def shown(text: str, holder: AnswerHolder) -> str:
    """Canonical text with its marks as [number]."""
    return _OWN_MARK.sub(lambda mark: f"[{holder.citations[int(mark.group(1)) - 1].number}]", text)


async def _whole(question: Question) -> dict[str, Any]:
    async with aclosing(answer(question)) as events:
        async for event in events:
            if isinstance(event, Completed):
                message = {
                    "role": "assistant",
                    "content": shown(event.holder.text, event.holder),
                    "refusal": None,
                    "annotations": file_citations(event.holder),
                }
                choice = {"index": 0, "message": message, "finish_reason": event.finish_reason, "logprobs": None}
                return _envelope(question, "chat.completion") | {"choices": [choice], "usage": event.usage}
    raise AssertionError("an answer ends completed or raises")


async def _streamed(question: Question, *, usage: bool) -> StreamingHttpResponse:
    """Starts the answer before the response begins, so that early refusals keep their status."""
    events = answer(question)
    searched = await anext(events)

    async def body() -> AsyncIterator[bytes]:
        envelope = _envelope(question, "chat.completion.chunk")

        def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
            choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
            return sse.frame(json.dumps(envelope | {"choices": choices} | more, ensure_ascii=False))

        try:
            async with aclosing(events):
                holder = getattr(searched, "holder", None)
                yield chunk({"role": "assistant", "content": ""})
                async for event in events:
                    if isinstance(event, Written):
                        if event.added and holder is not None:
                            yield chunk({"content": shown(event.added, holder)})
                        if event.reasoning:
                            yield chunk({"reasoning": event.reasoning})
                    elif isinstance(event, Completed):
                        yield chunk({"annotations": file_citations(event.holder)})
                        yield chunk({}, event.finish_reason or "stop")
                        if usage:
                            yield sse.frame(json.dumps(envelope | {"choices": [], "usage": event.usage}))
        except Exception as error:
            failure: ApplianceError = translate(error)
            yield sse.frame(json.dumps(openai_error(failure), ensure_ascii=False))
        yield sse.frame("[DONE]")

    return event_stream(body())


def event_stream(body: AsyncIterator[bytes]) -> StreamingHttpResponse:
    """A server-sent-events response that no proxy holds back."""
    response = StreamingHttpResponse(body, content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"
    return response


def _envelope(question: Question, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{question.correlation.hex}",
        "object": kind,
        "created": int(time.time()),
        "model": question.model,
    }
