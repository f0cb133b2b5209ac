"""The gateway as LlamaIndex sees it: its OpenAI-like model, a retriever over REST, and an answer made of both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from appliance_desk import ANSWER_QUOTE, QUESTION, Desk, search
from llama_index.core.llms import ChatMessage
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.llms.openai_like import OpenAILike


class Passages(BaseRetriever):
    """What a program writes to search the appliance with LlamaIndex."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = search(self.client, query_bundle.query_str, k=3)["results"]
        nodes = [TextNode(text=one.pop("text"), metadata=one) for one in found]
        return [NodeWithScore(node=node, score=1 / (rank + 1)) for rank, node in enumerate(nodes)]


@pytest.fixture(scope="module")
def options(desk: Desk) -> Iterator[dict[str, Any]]:
    """Where the gateway is, for alice."""
    with httpx.Client(trust_env=False, timeout=60) as client:
        yield {
            "model": "extractive",
            "api_base": f"{desk.room.url}/v1",
            "api_key": desk.token("alice"),
            "http_client": client,
            "max_retries": 0,
            "is_chat_model": True,
        }


def test_llamaindex_gets_a_grounded_answer_whole_and_streamed(options: dict[str, Any], contracts: str) -> None:
    model = OpenAILike(additional_kwargs={"extra_body": {"collections": [contracts]}}, **options)
    asked = [ChatMessage(role="user", content=QUESTION)]
    whole = model.chat(asked)
    assert str(whole.message.content).startswith(f"{ANSWER_QUOTE} [1]")
    pieces = list(model.stream_chat(asked))
    assert len(pieces) > 1
    assert str(pieces[-1].message.content).rstrip() == whole.message.content
    annotations = whole.raw.choices[0].message.annotations  # type: ignore[union-attr]
    assert annotations and annotations[0].type == "file_citation"


def test_llamaindex_asks_without_documents_and_without_waiting(options: dict[str, Any]) -> None:
    async def both() -> list[str]:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            model = OpenAILike(**(options | {"async_http_client": client}))
            answers = await asyncio.gather(model.acomplete("Say something."), model.acomplete("Say something else."))
        return [str(answer) for answer in answers]

    assert all(asyncio.run(both()))


def test_a_llamaindex_query_engine_answers_from_what_its_retriever_finds(
    options: dict[str, Any], alice: httpx.Client
) -> None:
    model = OpenAILike(**options)
    engine = RetrieverQueryEngine(
        retriever=Passages(alice),
        response_synthesizer=get_response_synthesizer(llm=model),
    )
    answered = engine.query(QUESTION)
    assert str(answered)
    expected = [one["text"] for one in search(alice, QUESTION, k=3)["results"]]
    assert [node.get_content() for node in answered.source_nodes] == expected
    assert {"document", "version", "page", "start", "end"} <= set(answered.source_nodes[0].metadata)


@pytest.mark.parametrize("stream", [True, False])
def test_llamaindex_is_told_what_was_refused(options: dict[str, Any], stream: bool) -> None:
    asked = [ChatMessage(role="user", content=QUESTION)]

    def ask(model: OpenAILike) -> object:
        return list(model.stream_chat(asked)) if stream else model.chat(asked)

    with pytest.raises(openai.AuthenticationError):
        ask(OpenAILike(**(options | {"api_key": "rr_wrong"})))
    nowhere = {"extra_body": {"collections": ["00000000-0000-4000-8000-000000000000"]}}
    with pytest.raises(openai.NotFoundError) as refused:
        ask(OpenAILike(additional_kwargs=nowhere, **options))
    assert refused.value.code == "collection_not_found"
