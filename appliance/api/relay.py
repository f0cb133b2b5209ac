"""A plain request through the gateway: relayed to the model as it is, its words kept apart from its events."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from appliance.accounts.models import User
from appliance.api import relayed_text
from appliance.audit.content import record_with
from appliance.audit.models import ContentKind, EventType, Outcome
from appliance.audit.record import Actor, Event, record
from appliance.lib import sse
from appliance.lib.errors import ModelUnavailable
from appliance.lib.failures import openai_error, translate
from appliance.lib.threads import in_thread
from appliance.llm import client


@dataclass(frozen=True, slots=True)
class Route:
    """A path of the model server, the actions its requests are recorded as, and the events that may end a stream."""

    path: str
    asked: str
    finished: str
    last_events: frozenset[str] = frozenset()  # besides "[DONE]"


CHAT = Route("/v1/chat/completions", "chat.ask", "chat.finish")
RESPONSES = Route(
    "/v1/responses",
    "chat.ask",
    "chat.finish",
    frozenset({"response.completed", "response.incomplete", "response.failed"}),
)
EMBEDDINGS = Route("/v1/embeddings", "embeddings.ask", "embeddings.finish")


@dataclass(frozen=True, slots=True)
class Relay:
    """One relayed request."""

    route: Route
    user: User
    actor: Actor
    body: dict[str, Any]
    stream: bool
    correlation: uuid.UUID = field(default_factory=uuid.uuid4)


async def relay(request: Relay) -> HttpResponseBase:
    """The model's own response, whole or streamed. Raises what the client raises, recorded as failed."""
    await in_thread(_begin, request)
    if not request.stream:
        try:
            raw = await client.post_raw(request.route.path, request.body, person=request.user.pk)
        except BaseException as error:
            await asyncio.shield(in_thread(_finish, request, error))
            raise
        await in_thread(_finish, request, None, relayed_text.answered(raw) if request.route is not EMBEDDINGS else "")
        return HttpResponse(raw, content_type="application/json")
    events = client.stream_raw(request.route.path, request.body, person=request.user.pk)
    try:
        first = await anext(events)  # what is refused before the first event keeps its status
    except BaseException as error:
        failure = ModelUnavailable() if isinstance(error, StopAsyncIteration) else error
        await asyncio.shield(in_thread(_finish, request, failure))
        raise failure from None
    response = StreamingHttpResponse(_streamed(request, first, events), content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"
    return response


async def _streamed(
    request: Relay, first: sse.ServerEvent, events: AsyncGenerator[sse.ServerEvent]
) -> AsyncIterator[bytes]:
    failure: BaseException | None = asyncio.CancelledError()
    heard = relayed_text.Heard()
    named = bool(request.route.last_events)  # such a stream names its events and has no [DONE]
    try:
        async with aclosing(events):
            event, ended = first, False
            while True:
                ended = event.data == "[DONE]" or event.event in request.route.last_events
                if event.data != "[DONE]":
                    heard.hear(event.data)
                    yield sse.frame(event.data, event=event.event if named else "")
                try:
                    event = await anext(events)
                except StopAsyncIteration:
                    break
        if not ended:
            raise ModelUnavailable("The model server stopped in the middle of its answer.")
        failure = None
    except Exception as error:
        failure = error
        body = openai_error(translate(error)) | ({"type": "error"} if named else {})
        yield sse.frame(json.dumps(body, ensure_ascii=False), event="error" if named else "")
    finally:
        await asyncio.shield(in_thread(_finish, request, failure, heard.text))
    if not named:
        yield sse.frame("[DONE]")


def _count(request: Relay) -> int:
    """Messages, items or texts."""
    given = request.body.get("messages", request.body.get("input", []))
    return len(given) if isinstance(given, list) else 1


def _begin(request: Relay) -> None:
    event = Event(
        EventType.INTENT, request.route.asked, correlation=request.correlation, detail={"items": _count(request)}
    )
    if request.route is EMBEDDINGS:  # texts to be turned into numbers, no question
        record(event, actor=request.actor)
    else:
        record_with(event, ContentKind.QUESTION, relayed_text.asked(request.body), actor=request.actor)


def _finish(request: Relay, failure: BaseException | None, answer: str = "") -> None:
    outcome, detail = Outcome.SUCCESS, dict[str, str]()
    if isinstance(failure, (asyncio.CancelledError, GeneratorExit)):
        outcome = Outcome.STOPPED
    elif failure is not None:
        outcome, detail = Outcome.FAILED, {"code": translate(failure).public_code}
    event = Event(EventType.OUTCOME, request.route.finished, outcome, correlation=request.correlation, detail=detail)
    record_with(event, ContentKind.ANSWER, answer, actor=request.actor)
