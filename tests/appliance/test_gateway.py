"""The gateway, as the official client of OpenAI sees it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import httpx
import openai
import pytest
from appliance_desk import ANSWER_QUOTE, QUESTION, Desk, Room, evidence_since, last_event_id, refusal, until

MESSAGES = [{"role": "user", "content": QUESTION}]
UNDERSTOOD = {"model": "extractive", "messages": MESSAGES, "collections": []}


@pytest.fixture(scope="module")
def gateway(desk: Desk) -> Iterator[openai.OpenAI]:
    """alice's client."""
    with openai.OpenAI(
        base_url=f"{desk.room.url}/v1",
        api_key=desk.token("alice"),
        max_retries=0,
        http_client=httpx.Client(trust_env=False, timeout=60),
    ) as client:
        yield client


def assert_grounded(alice: httpx.Client, content: str, annotations: list[dict[str, object]]) -> None:
    """Each citation is the stretch of its version's text that it says, on its page, and checked."""
    assert content.startswith(f"{ANSWER_QUOTE} [1]")
    assert annotations[0]["quote"] == ANSWER_QUOTE
    assert {f"[{number}]" for number in range(1, len(annotations) + 1)} >= {f"[{a['number']}]" for a in annotations}
    for annotation in annotations:
        assert annotation["type"] == "file_citation" and annotation["verified"] is True
        address = f"/api/v1/documents/{annotation['file_id']}/versions/{annotation['version']}/text"
        version = alice.get(address).json()
        start, end = annotation["start"], annotation["end"]
        assert annotation["quote"] == version["text"][start:end] != ""
        (page,) = [number for number, first, last in version["pages"] if first <= start < last]
        assert annotation["page"] == page
        assert f"[{annotation['number']}]" in content


def test_the_models_listed_are_those_that_answer(gateway: openai.OpenAI) -> None:
    assert [model.id for model in gateway.models.list()] == ["extractive"]


def test_a_grounded_answer_names_places_that_hold_its_words(
    gateway: openai.OpenAI, alice: httpx.Client, contracts: str
) -> None:
    answer = gateway.chat.completions.create(
        model="extractive",
        messages=MESSAGES,
        extra_body={"collections": [contracts]},
    )
    (choice,) = answer.choices
    assert (answer.object, answer.model, choice.finish_reason) == ("chat.completion", "extractive", "stop")
    assert answer.usage is not None and answer.usage.total_tokens > 0
    raw = choice.message.model_dump()
    assert_grounded(alice, raw["content"], raw["annotations"])


def test_a_streamed_answer_is_the_same_answer(gateway: openai.OpenAI, alice: httpx.Client, contracts: str) -> None:
    def ask(stream: bool) -> object:
        return gateway.chat.completions.create(
            model="extractive",
            messages=MESSAGES,
            stream=stream,
            extra_body={"collections": [contracts]} | ({"stream_options": {"include_usage": True}} if stream else {}),
        )

    content, annotations, finishes, usages = "", [], [], []
    for chunk in ask(stream=True):
        for choice in chunk.choices:
            content += choice.delta.content or ""
            annotations += (choice.delta.model_extra or {}).get("annotations", [])
            finishes.append(choice.finish_reason)
        usages.append(chunk.usage)
    assert finishes[-1] == "stop" and set(finishes[:-1]) == {None}
    assert usages[-1] is not None and usages[-1].total_tokens > 0
    assert_grounded(alice, content, annotations)
    whole = ask(stream=False).choices[0].message
    assert whole.content == content.rstrip()
    assert [{"url_citation": None} | a for a in annotations] == whole.model_dump()["annotations"]


def test_no_mark_of_the_dialect_reaches_the_caller(gateway: openai.OpenAI, contracts: str) -> None:
    with gateway.chat.completions.with_streaming_response.create(
        model="extractive", messages=MESSAGES, stream=True, extra_body={"collections": [contracts]}
    ) as response:
        lines = list(response.iter_lines())
    assert not any(sign in line for line in lines for sign in "【】†")
    events = [line for line in lines if line]
    assert all(line.startswith("data: ") for line in events) and events[-1] == "data: [DONE]"


def test_an_empty_scope_searches_all_the_caller_may_see(gateway: openai.OpenAI) -> None:
    answer = gateway.chat.completions.create(model="extractive", messages=MESSAGES, extra_body={"collections": []})
    assert str(answer.choices[0].message.content).startswith(ANSWER_QUOTE)


def test_a_plain_chat_is_relayed_and_shows_no_document(gateway: openai.OpenAI) -> None:
    before = last_event_id()
    messages = [{"role": "user", "content": QUESTION}]
    answer = gateway.chat.completions.create(model="extractive", messages=messages)
    assert ANSWER_QUOTE not in str(answer.choices[0].message.content)
    streamed = gateway.chat.completions.create(model="extractive", messages=messages, stream=True)
    text = "".join(choice.delta.content or "" for chunk in streamed for choice in chunk.choices)
    assert text == answer.choices[0].message.content
    events = until(lambda: e if len(e := evidence_since(before)) == 4 else None)
    assert events is not None
    assert [(e["type"], e["action"], e["outcome"]) for e in events] == [
        ("intent", "chat.ask", "success"),
        ("outcome", "chat.finish", "success"),
    ] * 2


@pytest.mark.parametrize("model", ["gpt-5", "all-minilm-l6-v2", "", "x\x00"])
@pytest.mark.parametrize("grounded", [True, False])
def test_a_model_that_is_not_there(gateway: openai.OpenAI, model: str, grounded: bool) -> None:
    extra = {"collections": []} if grounded else {}
    with pytest.raises(openai.NotFoundError) as refused:
        gateway.chat.completions.create(model=model, messages=MESSAGES, extra_body=extra)
    assert (refused.value.status_code, refused.value.code) == (404, "model_not_found")


def test_a_wrong_key(gateway: openai.OpenAI) -> None:
    wrong = gateway.with_options(api_key="rr_wrong")
    for call in (wrong.models.list, lambda: wrong.chat.completions.create(model="extractive", messages=MESSAGES)):
        with pytest.raises(openai.AuthenticationError) as refused:
            call()
        assert (refused.value.status_code, refused.value.code) == (401, "not_signed_in")


@pytest.mark.parametrize("collection", [str(uuid.uuid4()), "not-a-uuid", "clinical"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_collection_that_is_not_there_or_not_for_the_caller(
    gateway: openai.OpenAI, bob: httpx.Client, contracts: str, collection: str, stream: bool
) -> None:
    if collection == "clinical":  # exists, and bob may read it
        collection = next(c["id"] for c in bob.get("/api/v1/collections").json() if c["name"] == "Clinical")
    for scope in ([collection], [contracts, collection]):
        with pytest.raises(openai.NotFoundError) as refused:
            gateway.chat.completions.create(
                model="extractive", messages=MESSAGES, stream=stream, extra_body={"collections": scope}
            )
        assert (refused.value.status_code, refused.value.code) == (404, "collection_not_found")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"messages": []}, (400, "invalid_request")),
        ({"messages": [{"role": "wizard", "content": "x"}]}, (400, "invalid_request")),
        ({"messages": [{"role": "assistant", "content": "x"}]}, (400, "invalid_request")),
        ({"messages": [{"role": "user", "content": " "}]}, (400, "question_empty")),
        ({"messages": [{"role": "user", "content": "x" * 8_001}]}, (413, "question_too_long")),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, (400, "invalid_request")),
        ({"reasoning_effort": "extreme"}, (400, "invalid_request")),
        ({"collections": "all"}, (400, "invalid_request")),
        ({"model": None}, (400, "invalid_request")),
        ({"stream": "perhaps"}, (400, "invalid_request")),
    ],
)
def test_a_request_that_cannot_be_understood(
    alice: httpx.Client, django_room: Room, change: dict[str, object], expected: tuple[int, str]
) -> None:
    before = last_event_id()
    response = alice.post("/v1/chat/completions", content=json.dumps(UNDERSTOOD | change))
    assert refusal(response) == expected
    assert evidence_since(before) == []


def test_the_same_request_without_the_mistake_is_answered(alice: httpx.Client) -> None:
    assert alice.post("/v1/chat/completions", json=UNDERSTOOD).status_code == 200


def test_reading_is_no_way_to_ask(alice: httpx.Client) -> None:
    assert refusal(alice.get("/v1/chat/completions")) == (404, "not_found")


def test_earlier_turns_and_content_in_parts_are_read(gateway: openai.OpenAI, contracts: str) -> None:
    parts = [{"type": "text", "text": QUESTION[:30]}, {"type": "text", "text": QUESTION[30:]}]
    messages = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello 【1†L1】."}]
    answer = gateway.chat.completions.create(
        model="extractive",
        messages=[*messages, {"role": "user", "content": parts}],
        extra_body={"collections": [contracts]},
    )
    assert str(answer.choices[0].message.content).startswith(ANSWER_QUOTE)
