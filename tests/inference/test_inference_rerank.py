"""The reranker and the embedders beside the first, as a client sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from inference_servers import Running, running
from tiny_encoders import DIMENSIONS, make

DOCUMENTS = ["Rent is paid monthly.", "The dog barks.", "Notice is given in writing."]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a random cross-encoder and a random second embedder."""
    embedder, reranker = make(tmp_path_factory.mktemp("models"))
    with running(INFERENCE_RERANKER_DIR=str(reranker), INFERENCE_EMBEDDERS=f"tiny={embedder}") as found:
        yield found


def _rerank(client: httpx.Client, **changes: object) -> httpx.Response:
    body = {"model": "tiny-reranker", "query": "When is rent paid?", "documents": DOCUMENTS} | changes
    return client.post("/v1/rerank", json=body)


def test_documents_come_back_by_their_scores(full: Running) -> None:
    with full.http() as client:
        answer = _rerank(client)
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        scores = [result["relevance_score"] for result in results]
        assert sorted(result["index"] for result in results) == [0, 1, 2]
        assert scores == sorted(scores, reverse=True) and len(set(scores)) == 3
        assert all(0 <= score <= 1 for score in scores)
        assert _rerank(client, top_n=2).json()["results"] == results[:2]
        one_by_one = [_rerank(client, documents=[text]).json()["results"][0]["relevance_score"] for text in DOCUMENTS]
        by_index = {result["index"]: result["relevance_score"] for result in results}
        assert one_by_one == pytest.approx([by_index[index] for index in range(3)], abs=0.02)
        assert client.get("/health").json()["reranker"] == "tiny-reranker"


def test_what_cannot_be_reranked_is_refused(full: Running, http: httpx.Client) -> None:
    with full.http() as client:
        other = _rerank(client, model="other")
        assert (other.status_code, other.json()["error"]["code"]) == (404, "model_not_found")
        many = _rerank(client, documents=["a"] * 513)
        assert (many.status_code, many.json()["error"]["code"]) == (413, "batch_too_large")
        assert _rerank(client, documents=[]).status_code == 400
        assert client.post("/v1/rerank", json={}, headers={"Authorization": "Bearer no"}).status_code == 401
    without = _rerank(http)
    assert (without.status_code, without.json()["error"]["code"]) == (404, "reranker_not_installed")
    assert http.get("/health").json()["reranker"] is None


def test_two_embedders_answer_by_name(full: Running) -> None:
    with full.http() as client:
        assert client.get("/health").json()["embedders"] == ["all-minilm-l6-v2", "tiny"]
        for name, dimensions in (("tiny", DIMENSIONS), ("all-minilm-l6-v2", 384)):
            answer = client.post("/v1/embeddings", json={"model": name, "input": DOCUMENTS})
            vectors = np.array([item["embedding"] for item in answer.json()["data"]])
            assert vectors.shape == (3, dimensions)
            assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0] * 3, abs=1e-3)
            again = client.post("/v1/embeddings", json={"model": name, "input": DOCUMENTS[1]}).json()["data"]
            assert again[0]["embedding"] @ vectors[1] == pytest.approx(1.0, abs=1e-3)
        refused = client.post("/v1/embeddings", json={"model": "tiny", "input": "a", "dimensions": 384})
        assert refused.status_code == 400 and "48" in refused.json()["error"]["message"]


def test_a_folder_that_holds_no_such_model_stops_the_start(refuse: Callable[..., tuple[int, str]]) -> None:
    status, said = refuse(INFERENCE_RERANKER_DIR="/nowhere")
    assert status != 0 and "INFERENCE_RERANKER_DIR" in said
    status, said = refuse(INFERENCE_EMBEDDERS="tiny")
    assert status != 0 and "INFERENCE_EMBEDDERS" in said
