"""HTTP client of the inference server: any OpenAI-compatible server can stand in by its URL.

Synchronous calls serve workers and threads, `chat_stream` the event loop. Clients are kept per process (and per
loop) for their connections, and made again after a fork.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import weakref
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx
from django.conf import settings

from appliance.lib import sse
from appliance.lib.errors import ModelRefused, ModelTimeout
from appliance.llm import wire
from appliance.llm.wire import Delta

_sync: tuple[int, httpx.Client] | None = None
_async: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = weakref.WeakKeyDictionary()
_LIMITS = httpx.Limits(max_connections=512, max_keepalive_connections=64)


def _client() -> httpx.Client:
    global _sync
    if _sync is None or _sync[0] != os.getpid():
        _sync = (
            os.getpid(),
            httpx.Client(headers=wire.headers(), timeout=wire.timeout(), limits=_LIMITS, trust_env=False),
        )
    return _sync[1]


def _async_client() -> httpx.AsyncClient:
    loop = asyncio.get_running_loop()
    if loop not in _async:
        _async[loop] = httpx.AsyncClient(
            headers=wire.headers(), timeout=wire.timeout(), limits=_LIMITS, trust_env=False
        )
    return _async[loop]


def _request(method: str, path: str, **options: Any) -> Any:
    with wire.translated():
        response = _client().request(method, settings.INFERENCE_URL + path, **options)
        if response.status_code != 200:
            raise wire.refusal(response.status_code, response.content)
        return response.json()


def models() -> list[str]:
    """The ids of the models the server offers, in its order."""
    with wire.translated():
        return [str(model["id"]) for model in _request("GET", "/v1/models")["data"]]


def chat_model() -> str:
    """The model answers come from: the setting, else the first the server lists that is not the embedder."""
    if settings.CHAT_MODEL:
        return str(settings.CHAT_MODEL)
    for name in models():
        if name != settings.EMBEDDING_MODEL:
            return name
    raise ModelRefused("The model server offers no model to answer with.")


def health(*, timeout_s: float = 2.0) -> dict[str, Any]:
    """The server's own words about its state. Raises ModelUnavailable when it does not answer."""
    with wire.translated():
        response = _client().get(settings.INFERENCE_URL + "/health", timeout=timeout_s)
        body = response.json()
        return dict(body) | {"http_status": response.status_code}


def embed(texts: Sequence[str], *, model: str = "", timeout_s: float | None = None) -> list[list[float]]:
    """One normalised vector per text, in order. Travels as base64 float32: a quarter of JSON's size.

    `model` is what the server calls the embedder; empty: the one that the settings name.
    """
    body = {"model": model or settings.EMBEDDING_MODEL, "input": list(texts), "encoding_format": "base64"}
    options: dict[str, Any] = {} if timeout_s is None else {"timeout": timeout_s}
    with wire.translated():
        data = _request("POST", "/v1/embeddings", json=body, **options)["data"]
        ordered = sorted(data, key=lambda item: int(item["index"]))
        vectors = [_vector(item["embedding"]) for item in ordered]
        if len(vectors) != len(texts):
            raise ModelRefused("The model server sent another number of vectors than texts.")
        return vectors


def rerank(query: str, texts: Sequence[str], *, model: str, timeout_s: float) -> list[float]:
    """How well each text answers the query, by the server's cross-encoder, 0 to 1, in the order of `texts`."""
    body = {"model": model, "query": query, "documents": list(texts)}
    with wire.translated():
        results = _request("POST", "/v1/rerank", json=body, timeout=timeout_s)["results"]
        scores = {int(result["index"]): float(result["relevance_score"]) for result in results}
        if set(scores) != set(range(len(texts))):
            raise ModelRefused("The model server did not score every passage.")
        return [scores[index] for index in range(len(texts))]


def _vector(value: str | list[float]) -> list[float]:
    if isinstance(value, list):
        return [float(component) for component in value]
    raw = base64.b64decode(value, validate=True)
    if not raw or len(raw) % 4:
        raise ValueError("not a vector of 32-bit floats")
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


async def chat_stream(
    messages: list[dict[str, Any]], *, model: str, person: object, effort: str = "medium", **options: Any
) -> AsyncGenerator[Delta]:
    """The answer as it is written, for the person with this id. Closing the iterator cancels the generation.

    Raises a ModelUnavailable for a server that is down, slow or dies in the middle: a stream that ends without a
    finish reason is never taken for a finished answer.
    """
    body = {"model": model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    body |= {"reasoning_effort": effort} | options
    finished = False
    with wire.translated():
        async with _async_client().stream(
            "POST",
            settings.INFERENCE_URL + "/v1/chat/completions",
            json=body,
            headers=wire.on_behalf_of(person),
        ) as response:
            if response.status_code != 200:
                raise wire.refusal(response.status_code, await response.aread())
            async for event in sse.read_events(sse.read_lines(response.aiter_text())):
                if event.data == "[DONE]":
                    break
                delta = wire.parse_chunk(event.data)
                if delta is not None:
                    finished = finished or bool(delta.finish_reason)
                    yield delta
        if not finished:
            raise ModelTimeout("The model server stopped in the middle of its answer.")


async def post_raw(path: str, body: dict[str, Any], *, person: object) -> bytes:
    """A plain request to one of the server's /v1 paths, relayed: the response body as it came."""
    with wire.translated():
        response = await _async_client().post(
            settings.INFERENCE_URL + path, json=body, headers=wire.on_behalf_of(person)
        )
        if response.status_code != 200:
            raise wire.relayed_refusal(response.status_code, response.content)
        return response.content


async def stream_raw(path: str, body: dict[str, Any], *, person: object) -> AsyncGenerator[sse.ServerEvent]:
    """A plain streaming request, relayed: its events as they come, "[DONE]" included."""
    with wire.translated():
        async with _async_client().stream(
            "POST", settings.INFERENCE_URL + path, json=body, headers=wire.on_behalf_of(person)
        ) as response:
            if response.status_code != 200:
                raise wire.relayed_refusal(response.status_code, await response.aread())
            async for event in sse.read_events(sse.read_lines(response.aiter_text())):
                yield event


async def aclose() -> None:
    """Closes this loop's client, for commands that end their loop."""
    client = _async.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.aclose()
