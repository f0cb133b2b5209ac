"""POST /v1/embeddings."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from inference.embedding.embedder import Embedder, Vectors
from inference.errors import BadRequestError, TooLargeError
from inference.server.http import read_body, unless_disconnected
from inference.server.state import ServerState, require_model
from inference.server.wire import EmbeddingsBody, parse_body

SPECIAL_TOKENS = 2  # [CLS] and [SEP] count towards the most that is read


async def create_embeddings(request: Request, state: ServerState) -> Response:
    """Answer with one unit vector per input, in the inputs' order.

    `usage` counts the tokens read. Beyond OpenAI's fields, `truncated` lists the indices of inputs longer
    than the model reads, whose vectors stand for their beginnings only.
    """
    body = parse_body(EmbeddingsBody, await read_body(request, max_bytes=state.settings.max_body_bytes))
    require_model(body.model, state.embedders)
    embedder, queue = state.loaded().embedder_named(body.model)
    texts = body.texts
    if len(texts) > state.settings.max_batch:
        raise TooLargeError(
            f"{len(texts)} inputs in one request; at most {state.settings.max_batch} are allowed.",
            code="batch_too_large",
            param="input",
        )
    if body.dimensions not in (None, embedder.dimensions):
        raise BadRequestError(f"{embedder.name} has {embedder.dimensions} dimensions and no other.", param="dimensions")
    with state.admitted():
        counts = await asyncio.to_thread(embedder.count_tokens, texts)
        vectors = await unless_disconnected(request, queue.embed(texts))
        content = await asyncio.to_thread(
            _render, body, embedder, vectors, [count + SPECIAL_TOKENS for count in counts]
        )
    return Response(content, media_type="application/json")


def _render(body: EmbeddingsBody, embedder: Embedder, vectors: Vectors, counts: list[int]) -> bytes:
    def encoded(index: int) -> Any:
        if body.encoding_format == "base64":
            return base64.b64encode(vectors[index].astype("<f4").tobytes()).decode("ascii")
        return vectors[index].tolist()

    num_tokens = sum(min(count, embedder.max_tokens) for count in counts)
    return to_json(
        {
            "object": "list",
            "model": body.model,
            "data": [
                {"object": "embedding", "index": index, "embedding": encoded(index)} for index in range(len(vectors))
            ],
            "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
            "truncated": [index for index, count in enumerate(counts) if count > embedder.max_tokens],
        }
    )
