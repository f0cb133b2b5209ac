"""A server between the workers and the model server that can be slow, or hold what it is asked until it is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import httpx

_HEADERS = ("Authorization", "Content-Type")


class SlowEmbedder:
    """Passes every request on. `delay_s` before each; `hold_smaller_than(n)` keeps batches of fewer texts waiting."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._smallest = 0
        self._free = threading.Event()
        self._free.set()
        self.delay_s = 0.0
        self._client = httpx.Client(timeout=120, trust_env=False)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="slow embedder", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def hold_smaller_than(self, num_texts: int) -> None:
        """Batches of fewer texts wait until `let_go`."""
        self._smallest = num_texts
        self._free.clear()

    def let_go(self) -> None:
        self._smallest = 0
        self._free.set()

    def _pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        if path == "/v1/embeddings":
            if len(json.loads(body)["input"]) < self._smallest:
                self._free.wait()
            if self.delay_s:
                threading.Event().wait(self.delay_s)
        answer = self._client.request(method, self._upstream + path, headers=headers, content=body)
        return answer.status_code, answer.headers.get("content-type", ""), answer.content

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name: self.headers[name] for name in _HEADERS if name in self.headers}
                try:
                    status, media_type, content = outer._pass_on(self.command, self.path, headers, body)
                    self.send_response(status)
                    self.send_header("Content-Type", media_type)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except (OSError, httpx.HTTPError):  # whoever asked is gone, or the model server is
                    self.close_connection = True

            do_GET = do_POST = _answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
