"""The gateway as LangChain sees it: chat, streams, tools, embeddings, errors, and a retriever over REST."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from appliance_desk import ANSWER_QUOTE, QUESTION, Desk, search
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


class Passages(BaseRetriever):
    """What a program writes to search the appliance with LangChain."""

    url: str
    token: str
    k: int = 3

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        answer = httpx.post(
            f"{self.url}/api/v1/search",
            json={"query": query, "k": self.k},
            headers={"Authorization": f"Bearer {self.token}"},
            trust_env=False,
            timeout=60,
        )
        answer.raise_for_status()
        return [Document(page_content=found.pop("text"), metadata=found) for found in answer.json()["results"]]


@pytest.fixture(scope="module")
def options(desk: Desk) -> Iterator[dict[str, Any]]:
    """Where the gateway is, for alice."""
    with httpx.Client(trust_env=False, timeout=60) as client:
        yield {
            "base_url": f"{desk.room.url}/v1",
            "api_key": desk.token("alice"),
            "http_client": client,
            "max_retries": 0,
        }


def test_langchain_gets_a_grounded_answer_whole_and_streamed(options: dict[str, Any], contracts: str) -> None:
    model = ChatOpenAI(model="extractive", extra_body={"collections": [contracts]}, **options)
    whole = model.invoke(QUESTION)
    assert str(whole.content).startswith(f"{ANSWER_QUOTE} [1]")
    streamed = "".join(str(piece.content) for piece in model.stream(QUESTION))
    assert streamed.rstrip() == whole.content


def test_langchain_counts_the_tokens_of_a_stream_when_it_asks_to(options: dict[str, Any], contracts: str) -> None:
    asked = {"model": "extractive", "extra_body": {"collections": [contracts]}} | options
    pieces = list(ChatOpenAI(stream_usage=True, **asked).stream(QUESTION))
    usage = [piece.usage_metadata for piece in pieces if piece.usage_metadata]
    assert len(usage) == 1 and usage[0]["total_tokens"] > 0
    assert not any(piece.usage_metadata for piece in ChatOpenAI(stream_usage=False, **asked).stream(QUESTION))


def test_a_langchain_chain_answers_from_what_its_retriever_finds(
    options: dict[str, Any], desk: Desk, alice: httpx.Client
) -> None:
    retriever = Passages(url=desk.room.url, token=options["api_key"])
    found = retriever.invoke(QUESTION)
    assert [one.page_content for one in found] == [one["text"] for one in search(alice, QUESTION, k=3)["results"]]
    assert {"document", "version", "page", "start", "end"} <= set(found[0].metadata)
    prompt = ChatPromptTemplate.from_template("Passages:\n{passages}\n\nQuestion: {question}")
    chain = (
        {
            "passages": retriever | (lambda passages: "\n".join(passage.page_content for passage in passages)),
            "question": RunnablePassthrough(),
        }
        | prompt
        | ChatOpenAI(model="extractive", **options)
        | StrOutputParser()
    )
    assert chain.invoke(QUESTION)


def test_langchain_embeds_texts_and_questions(options: dict[str, Any]) -> None:
    embeddings = OpenAIEmbeddings(model="all-minilm-l6-v2", check_embedding_ctx_length=False, **options)
    letters, cleaning = embeddings.embed_documents(["discharge letters are kept", "wards are cleaned"])
    question = embeddings.embed_query("How long is a letter kept after discharge?")
    assert len(letters) == len(cleaning) == len(question) == 384

    def like(other: list[float]) -> float:
        return sum(a * b for a, b in zip(question, other, strict=True))

    assert like(letters) > like(cleaning)


@pytest.mark.parametrize("stream", [True, False])
def test_langchain_is_told_what_was_refused(options: dict[str, Any], stream: bool) -> None:
    wrong = ChatOpenAI(model="extractive", **(options | {"api_key": "rr_wrong"}))
    with pytest.raises(openai.AuthenticationError):
        list(wrong.stream("Hello")) if stream else wrong.invoke("Hello")
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
    grounded = ChatOpenAI(model="extractive", extra_body={"collections": []}, **options).bind_tools(tools)
    with pytest.raises(openai.BadRequestError) as refused:
        list(grounded.stream(QUESTION)) if stream else grounded.invoke(QUESTION)
    assert refused.value.code == "unsupported_parameter"


def test_a_person_who_asks_too_often_is_told_when_to_come_back(options: dict[str, Any], desk: Desk) -> None:
    from django.test import Client as DjangoClient
    from django.test import override_settings

    from appliance.accounts.models import Allowance

    Allowance.objects.all().delete()
    client = DjangoClient(SERVER_NAME="127.0.0.1")
    headers = {"Authorization": f"Bearer {options['api_key']}"}

    def searched(token: str) -> Any:
        return client.post(
            "/api/v1/search",
            {"query": "cleaning"},
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )

    with override_settings(SEARCH_PER_MINUTE=2, CHAT_PER_MINUTE=1):
        assert [searched(options["api_key"]).status_code for _ in range(2)] == [200, 200]
        refused = searched(desk.token("alice"))  # another token is the same person
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert 1 <= int(refused.headers["Retry-After"]) <= 30
        assert searched(desk.token("bob")).status_code == 200
        body = {"model": "all-minilm-l6-v2", "input": "x"}
        answers = [
            client.post("/v1/embeddings", body, content_type="application/json", headers=headers) for _ in range(2)
        ]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].json()["error"]["code"] == "rate_limited" and int(answers[1].headers["Retry-After"]) <= 60
