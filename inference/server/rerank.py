"""POST /v1/rerank."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from inference.errors import NotFoundError, TooLargeError
from inference.server.http import JSONBytes, read_body, unless_disconnected
from inference.server.state import ServerState, require_model
from inference.server.wire import RerankBody, parse_body


async def create_rerank(request: Request, state: ServerState) -> Response:
    """Answer with the indices of the documents and their scores, 0 to 1, best first, `top_n` of them.

    404 with the code `reranker_not_installed` on a server without a cross-encoder.
    """
    body = parse_body(RerankBody, await read_body(request, max_bytes=state.settings.max_body_bytes))
    if state.reranker_name is None:
        raise NotFoundError(
            "No reranker is installed on this server: set INFERENCE_RERANKER_DIR to the folder of a cross-encoder.",
            code="reranker_not_installed",
        )
    require_model(body.model, (state.reranker_name,))
    reranker = state.loaded().reranker
    assert reranker is not None  # loaded with the rest, or the server would have ended
    if len(body.documents) > state.settings.max_batch:
        raise TooLargeError(
            f"{len(body.documents)} documents in one request; at most {state.settings.max_batch} are allowed.",
            code="batch_too_large",
            param="documents",
        )
    with state.admitted():
        scores = await unless_disconnected(request, reranker.score(body.query, body.documents))
    best = sorted(range(len(scores)), key=lambda index: (-scores[index], index))[: body.top_n]
    results = [{"index": index, "relevance_score": scores[index]} for index in best]
    return JSONBytes({"model": body.model, "results": results})
