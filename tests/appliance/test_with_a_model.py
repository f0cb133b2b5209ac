"""The whole appliance over the gpt-oss engine: a tiny model with random weights, so the words mean nothing."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import openai
import psycopg
import pytest
from appliance_desk import until
from langchain_openai import ChatOpenAI
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, SecretStr

from appliance.ops.stack import Stack
from inference.gptoss.tiny import write_tiny
from tests.conftest import SETTINGS, Room

WEATHER = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {
            "type": "object",
            "properties": {"letter": {"enum": ["a", "b"]}},
            "required": ["letter"],
            "additionalProperties": False,
        },
    },
}


class Rent(BaseModel):
    """A rent."""

    unit: bool
    paid: bool


# A model with random weights ends when it happens to; this keeps it busy.
ENDLESS = {
    "type": "object",
    "properties": {"letters": {"type": "array", "minItems": 20_000, "items": {"enum": ["a"]}}},
    "required": ["letters"],
}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """An appliance of its own whose model takes one request at a time."""
    base = tmp_path_factory.mktemp("with_a_model")
    for folder in (base, base.parent, base.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o011)
    write_tiny(base / "model")
    site = {name: value for name, value in os.environ.items() if not name.startswith(("APPLIANCE_", "INFERENCE_"))}
    site |= SETTINGS | {"INFERENCE_MODEL_DIR": str(base / "model"), "INFERENCE_MAX_RUNNING": "1"}
    data_dir: Path = base / "data"
    with Stack(data_dir, ports="auto", environment=site) as stack:
        room = Room(stack, {})
        room.passwords.update(room.manage("seed_demo")["passwords"])
        yield room


@pytest.fixture(scope="module")
def gateway(room: Room) -> Iterator[openai.OpenAI]:
    with (
        httpx.Client(trust_env=False) as transport,
        openai.OpenAI(
            base_url=f"{room.url}/v1", api_key=room.token("alice"), max_retries=0, http_client=transport
        ) as client,
    ):
        yield client


def go_on(gateway: openai.OpenAI) -> openai.Stream[ChatCompletionChunk]:
    """An answer that is far from its end whenever it is looked at."""
    return gateway.chat.completions.create(
        model="model",
        messages=[{"role": "user", "content": "Go on."}],
        stream=True,
        max_tokens=30_000,
        response_format={"type": "json_schema", "json_schema": {"name": "endless", "schema": ENDLESS}},
    )


def ask(browser: httpx.Client, text: str) -> str:
    """Asks on the chat page; returns the path of the answer's stream."""
    form = {"text": text, "effort": "low", "csrfmiddlewaretoken": browser.cookies["reading_room_csrf"]}
    asked = browser.post("/chat/ask", data=form, headers={"Referer": str(browser.base_url)})
    assert asked.status_code == 303
    page = browser.get(asked.headers["Location"]).text
    found = re.findall(r'data-stream="([^"]+)"', page)
    assert found, page
    return str(found[-1])


def test_an_answer_thinks_writes_and_is_recorded_with_its_model(room: Room) -> None:
    answer = room.manage("ask", "How much notice must the Trust give Halvern?", "--as", "alice")
    assert answer["model"] == "model"
    assert answer["answer"].strip()
    with psycopg.connect(room.environment["APPLIANCE_DATABASE_URL"]) as database:
        found = database.execute(
            "SELECT type, canonical FROM audit_auditevent WHERE correlation = "
            "(SELECT correlation FROM audit_auditevent WHERE action = 'answer.finish' ORDER BY id LIMIT 1) ORDER BY id"
        ).fetchall()
    assert [kind for kind, _ in found] == ["intent", "disclosure", "outcome"]
    detail = json.loads(bytes(found[-1][1]))["detail"]
    assert detail["model"] == "model"
    assert detail["usage"]["completion_tokens"] > 0


def test_the_page_says_what_the_model_is_doing_and_where_in_line_the_question_is(
    room: Room, gateway: openai.OpenAI
) -> None:
    long = go_on(gateway)
    next(iter(long))  # it runs, alone
    with closing(room.browser_session("alice")) as browser:
        path = ask(browser, "How often must ward areas be cleaned under the Halvern agreement?")
        activities: list[str] = []
        with browser.stream("GET", path) as stream:
            lines = stream.iter_lines()
            for line in lines:
                if line == "event: activity":
                    activities.append(next(lines).removeprefix("data: "))
                    if activities[-1].startswith("Waiting"):
                        long.close()
                if line == "event: done":
                    break
        assert activities[0] == "Waiting for the model: you are next"
        assert activities[-1] in ("Thinking", "Writing")


def test_a_forced_function_call_comes_through_the_gateway(gateway: openai.OpenAI) -> None:
    answer = gateway.chat.completions.create(
        model="model",
        messages=[{"role": "user", "content": "Look it up."}],
        tools=[WEATHER],  # type: ignore[list-item]
        tool_choice="required",
        max_tokens=200,
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)["letter"] in ("a", "b")


def test_langchain_s_tools_and_structured_output_come_through_the_gateway(gateway: openai.OpenAI, room: Room) -> None:
    with httpx.Client(trust_env=False, timeout=60) as transport:
        model = ChatOpenAI(
            base_url=f"{room.url}/v1",
            api_key=SecretStr(str(gateway.api_key)),
            model="model",
            max_retries=0,
            max_tokens=300,
            seed=7,
            http_client=transport,
        )
        called = model.bind_tools([Rent], tool_choice="Rent").invoke("Hello?")
        assert called.tool_calls[0]["name"] == "Rent" and set(called.tool_calls[0]["args"]) == {"unit", "paid"}
        assert isinstance(model.with_structured_output(Rent, method="json_schema").invoke("Hello?"), Rent)


def test_llamaindex_s_tools_come_through_the_gateway(gateway: openai.OpenAI, room: Room) -> None:
    def rent(unit: bool, paid: bool) -> str:
        """Looks a rent up."""
        return f"{unit} {paid}"

    tool = FunctionTool.from_defaults(rent)
    with httpx.Client(trust_env=False, timeout=60) as transport:
        model = OpenAILike(
            api_base=f"{room.url}/v1",
            api_key=str(gateway.api_key),
            model="model",
            max_retries=0,
            max_tokens=300,
            http_client=transport,
            is_chat_model=True,
            is_function_calling_model=True,
        )
        called = model.chat_with_tools([tool], user_msg="Hello?", tool_required=True)
        (selected,) = model.get_tool_calls_from_response(called)
        assert selected.tool_name == "rent" and set(selected.tool_kwargs) == {"unit", "paid"}


def test_responses_come_through_the_gateway_plain_and_streamed(gateway: openai.OpenAI) -> None:
    whole = gateway.responses.create(model="model", input="Say something.", max_output_tokens=80)
    assert whole.status in ("completed", "incomplete")
    with gateway.responses.stream(model="model", input="Say something.", max_output_tokens=80) as stream:
        kinds = [event.type for event in stream]
    assert kinds[0] == "response.created"
    assert [kind in ("response.completed", "response.incomplete") for kind in kinds].count(True) == 1
    assert kinds[-1] in ("response.completed", "response.incomplete")


def test_embeddings_come_through_the_gateway(gateway: openai.OpenAI, room: Room) -> None:
    answer = gateway.embeddings.create(model="all-minilm-l6-v2", input=["rent", "lease"])
    assert [len(item.embedding) for item in answer.data] == [384, 384]
    with pytest.raises(openai.NotFoundError):
        gateway.embeddings.create(model="model", input="rent")
    with psycopg.connect(room.environment["APPLIANCE_DATABASE_URL"]) as database:
        found = database.execute(
            "SELECT action, outcome FROM audit_auditevent WHERE action LIKE 'embeddings.%' ORDER BY id"
        ).fetchall()
    assert found == [("embeddings.ask", "success"), ("embeddings.finish", "success")]


@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_request_is_refused_with_the_server_s_words_before_the_stream(
    gateway: openai.OpenAI, stream: bool
) -> None:
    wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}
    with pytest.raises(openai.BadRequestError, match="response_format: the JSON schema") as refused:
        gateway.chat.completions.create(  # type: ignore[call-overload]
            model="model", messages=[{"role": "user", "content": "Hi"}], response_format=wrong, stream=stream
        )
    assert refused.value.code == "invalid_schema"


def test_a_grounded_answer_is_not_asked_for_by_responses(gateway: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="chat/completions"):
        gateway.responses.create(model="model", input="Hi", extra_body={"collections": []})


def test_hanging_up_in_the_middle_of_a_plain_answer_stops_it_and_is_recorded(
    room: Room, gateway: openai.OpenAI
) -> None:
    last = "SELECT outcome FROM audit_auditevent WHERE action = 'chat.finish' AND id > %s"
    with psycopg.connect(room.environment["APPLIANCE_DATABASE_URL"], autocommit=True) as database:
        (before,) = database.execute("SELECT max(id) FROM audit_auditevent").fetchone() or (0,)
        with go_on(gateway) as answer:
            next(iter(answer))
        assert until(lambda: database.execute(last, [before]).fetchall()) == [("stopped",)]


def test_stopping_on_the_page_frees_the_model_for_the_next(room: Room, gateway: openai.OpenAI) -> None:
    with closing(room.browser_session("alice")) as browser:
        path = ask(browser, "What does the lease of Osprey House say about the rent?")
        token = browser.cookies["reading_room_csrf"]
        finished = threading.Event()

        def answer_another() -> None:
            gateway.chat.completions.create(
                model="model", messages=[{"role": "user", "content": "Short."}], max_tokens=5
            )
            finished.set()

        other = threading.Thread(target=answer_another)
        with browser.stream("GET", path) as stream:
            for line in stream.iter_lines():
                if line == "event: activity":
                    other.start()
                    stopped = browser.post(
                        path.replace("/stream", "/stop"),
                        data={"csrfmiddlewaretoken": token},
                        headers={"Referer": str(browser.base_url)},
                    )
                    assert stopped.status_code in (200, 303)
                    break
        other.join(30)
        assert finished.is_set()
