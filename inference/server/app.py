"""The Starlette application: routes, and which of them need the key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from inference.embedding import embedder
from inference.errors import ApiError
from inference.server.chat import create_chat_completion
from inference.server.completions import create_completion
from inference.server.embeddings import create_embeddings
from inference.server.http import (
    JSONBytes,
    on_api_error,
    on_disconnect,
    on_http_exception,
    on_unexpected,
    require_key,
)
from inference.server.metrics import CONTENT_TYPE, CountRequests
from inference.server.rerank import create_rerank
from inference.server.responses import create_response
from inference.server.state import ServerState, require_model

Handler = Callable[[Request], Awaitable[Response]]
StateHandler = Callable[[Request, ServerState], Awaitable[Response]]


def create_app(state: ServerState, *, on_load_failure: Callable[[], None]) -> Starlette:
    """Return the application. Loading starts with its lifespan; `on_load_failure` should end the process."""

    def guarded(handler: StateHandler) -> Handler:
        async def endpoint(request: Request) -> Response:
            require_key(request, state.settings.api_key)
            return await handler(request, state)

        return endpoint

    async def health(request: Request) -> Response:
        return await show_health(request, state)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        state.start_loading(on_failure=on_load_failure)
        try:
            yield
        finally:
            state.close()

    routes = [
        Route("/health", health),
        Route("/metrics", guarded(show_metrics)),
        Route("/v1/models", guarded(list_models)),
        Route("/v1/models/{model:path}", guarded(show_model)),
        Route("/v1/chat/completions", guarded(create_chat_completion), methods=["POST"]),
        Route("/v1/responses", guarded(create_response), methods=["POST"]),
        Route("/v1/completions", guarded(create_completion), methods=["POST"]),
        Route("/v1/embeddings", guarded(create_embeddings), methods=["POST"]),
        Route("/v1/rerank", guarded(create_rerank), methods=["POST"]),
    ]
    endpoints = frozenset(route.path for route in routes)
    return Starlette(
        routes=routes,
        middleware=[Middleware(CountRequests, metrics=state.metrics, endpoints=endpoints)],
        exception_handlers={
            ApiError: on_api_error,
            HTTPException: on_http_exception,
            ClientDisconnect: on_disconnect,
            Exception: on_unexpected,
        },
        lifespan=lifespan,
    )


async def show_health(request: Request, state: ServerState) -> Response:
    """GET /health, without a key: 200 when requests are served, 503 while loading and once the engine has ended.

    `embedders` are all that are served, `reranker` is null where none is installed. For gpt-oss it names the model, its
    tier and how many answers are computed and wait.
    """
    stats = state.engine_stats()
    status = "loading" if not state.ready else "failed" if stats is not None and stats.failure else "ready"
    content: dict[str, Any] = {
        "status": status,
        "engine": state.settings.engine,
        "embedder": {
            "name": embedder.NAME,
            "dimensions": embedder.DIMENSIONS,
            "max_tokens": embedder.MAX_TOKENS,
        },
        "embedders": list(state.embedders),
        "reranker": state.reranker_name,
    }
    if stats is not None and (served := state.loaded().gptoss) is not None:
        content["model"] = {
            "name": state.chat_models[0],
            "tier": served.tier,
            "device": served.device,
            "context_length": served.engine.context_length,
            "adapters": list(state.chat_models[1:]),
        }
        content["queue"] = {"running": stats.running, "waiting": stats.waiting}
        if stats.failure:
            content["failure"] = stats.failure
    return JSONBytes(content, status_code=200 if status == "ready" else 503)


async def show_metrics(request: Request, state: ServerState) -> Response:
    """GET /metrics, in Prometheus' text format."""
    return Response(state.metrics.render(), media_type=CONTENT_TYPE)


async def list_models(request: Request, state: ServerState) -> Response:
    """GET /v1/models."""
    return JSONBytes({"object": "list", "data": [_model(name) for name in _models(state)]})


async def show_model(request: Request, state: ServerState) -> Response:
    """GET /v1/models/{model}."""
    name = request.path_params["model"]
    require_model(name, _models(state))
    return JSONBytes(_model(name))


def _models(state: ServerState) -> tuple[str, ...]:
    return (*state.chat_models, embedder.NAME)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "reading-room"}
