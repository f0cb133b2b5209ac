"""An appliance with a second embedder and a reranker, tiny and random: the vectors are real, the taste is not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from appliance_desk import added, as_owner, search, until
from tiny_encoders import DIMENSIONS, make

from appliance.ops.environment import REPOSITORY
from appliance.ops.stack import Stack
from tests.conftest import SETTINGS, Room

QUESTION = "How often must ward areas be cleaned?"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """An appliance of its own whose model server has two embedders and a reranker."""
    base = tmp_path_factory.mktemp("second_models")
    for folder in (base, base.parent, base.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o011)
    site = {name: value for name, value in os.environ.items() if not name.startswith(("APPLIANCE_", "INFERENCE_"))}
    embedder, reranker = make(base)
    site |= SETTINGS | {
        "INFERENCE_EMBEDDERS": f"tiny={embedder}",
        "INFERENCE_RERANKER_DIR": str(reranker),
        "APPLIANCE_RERANKER": reranker.name,
        "APPLIANCE_RERANKER_TIMEOUT_S": "60",
    }
    data_dir: Path = base / "data"
    with Stack(data_dir, ports="auto", environment=site) as stack:
        room = Room(stack, {})
        room.passwords.update(room.manage("seed_demo")["passwords"])
        yield room


@pytest.fixture(scope="module")
def alice(room: Room) -> Iterator[httpx.Client]:
    with room.client("alice") as client:
        yield client


@pytest.fixture(scope="module")
def owner(room: Room) -> Iterator[psycopg.Connection[Any]]:
    with as_owner(room) as connection:
        yield connection


def one(owner: psycopg.Connection[Any], sql: str, *given: object) -> Any:
    row = owner.execute(sql, given).fetchone()  # type: ignore[call-overload]
    return None if row is None else row[0]


def active(owner: psycopg.Connection[Any]) -> str:
    return str(one(owner, "SELECT name FROM documents_embeddingmodel WHERE active"))


def vectors(owner: psycopg.Connection[Any], model: str) -> int:
    return int(
        one(
            owner,
            "SELECT count(*) FROM documents_chunkembedding AS e JOIN documents_embeddingmodel AS m ON m.id = e.model_id"
            " WHERE m.name = %s",
            model,
        )
    )


def contracts(client: httpx.Client) -> str:
    return next(str(c["id"]) for c in client.get("/api/v1/collections").json() if c["name"] == "Contracts")


def test_the_reranker_decides_the_order_and_says_so(
    room: Room, alice: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    answer = search(alice, QUESTION, k=10)
    assert answer["coverage"]["reranked"] > 10 and answer["coverage"]["not_reranked"] == 0
    scores = [passage["score"] for passage in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert alice.get("/api/v1/health/ready").json()["parts"]["reranker"] == "ok"
    here = f"/manage/collections/{contracts(alice)}/retrieval"
    with closing(room.browser_session("alice")) as browser:
        assert browser.get(here).status_code == 404  # a reader's
        owner.execute("UPDATE documents_grant SET role = 'manager' WHERE collection_id = %s", [contracts(alice)])
        page = browser.get(here, params={"q": QUESTION}).text
    assert "Read together with the question it fits by" in page and "By meaning it comes" in page
    assert re.search(r"The reranker read \d\d passages", page)


def test_the_index_moves_to_another_model_though_everything_is_killed_in_the_middle(
    room: Room, alice: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    before = search(alice, QUESTION)
    chunks = vectors(owner, "all-minilm-l6-v2")
    last = one(owner, "SELECT max(id) FROM documents_documentversion WHERE status = 'ready'")
    command = [sys.executable, "manage.py", "reembed", "tiny", "--json"]
    with psycopg.connect(room.environment["APPLIANCE_DATABASE_OWNER_URL"]) as barrier:
        barrier.execute("SELECT FROM documents_documentversion WHERE id = %s FOR UPDATE", [last])
        stopped = subprocess.Popen(command, env=room.environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        until(lambda: _built(owner) > 0)
        stopped.kill()
        assert stopped.stdout is not None
        said = [json.loads(line)["progress"] for line in stopped.stdout.read().splitlines()]
        stopped.wait()
        stopped.stdout.close()
        assert said and said[0]["model"] == "tiny" and said[0]["versions"] > 1
        room.stack.kill("worker", signal.SIGKILL)
    assert active(owner) == "all-minilm-l6-v2"
    assert 0 < vectors(owner, "tiny") < chunks
    assert search(alice, QUESTION)["results"] == before["results"]
    room.stack.restart("worker")
    room.stack.wait_ready(120)

    collection = contracts(alice)
    owner.execute("UPDATE documents_grant SET role = 'manager' WHERE collection_id = %s", [collection])
    added(alice, collection, "meanwhile.txt", b"The heron stands in the reeds by the weir.")
    until(lambda: one(owner, "SELECT count(*) FROM documents_documentversion") == _built(owner), timeout_s=180)
    assert vectors(owner, "all-minilm-l6-v2") == vectors(owner, "tiny") == chunks + 1

    done = room.manage("reembed", "tiny")
    assert done == {"model": "tiny", "dimensions": DIMENSIONS, "active": True, "removed": chunks + 1}
    assert active(owner) == "tiny"
    assert vectors(owner, "all-minilm-l6-v2") == 0 and vectors(owner, "tiny") == chunks + 1
    assert one(owner, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('chunkembedding_hnsw_48')")
    assert search(alice, "heron reeds weir", collection)["results"]
    added(alice, collection, "later.txt", b"The grebe dives under the bridge.")
    assert search(alice, "grebe bridge", collection)["results"]
    assert vectors(owner, "tiny") == chunks + 2 and vectors(owner, "all-minilm-l6-v2") == 0
    actions = [
        row[0] for row in owner.execute("SELECT action FROM audit_auditevent WHERE action LIKE 'index.%%' ORDER BY id")
    ]
    assert actions == ["index.build", "index.flip", "index.remove"]


def _built(owner: psycopg.Connection[Any]) -> int:
    return int(one(owner, "SELECT count(*) FROM documents_builtversion"))


def test_a_model_that_is_not_there_is_refused_by_name(room: Room) -> None:
    refused = room.manage("reembed", "nobody", check=False)
    assert refused["error"]["code"] == "model_refused"
