"""What a running server holds: settings, how far loading has come, and how many requests are in hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from inference.embedding.embedder import NAME, Dtype, Embedder, choose_dtype, load_embedder
from inference.embedding.queue import EmbedQueue
from inference.errors import LoadingError, NotFoundError, QueueFullError
from inference.extractive.engine import MODEL_ID, ExtractiveEngine
from inference.generation import Engine
from inference.reranking import Reranker, load_reranker
from inference.server.metrics import Metrics
from inference.settings import Settings

if TYPE_CHECKING:
    from inference.gptoss.engine import EngineStats
    from inference.gptoss.serving import ServedModel


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Everything that answers requests. `gptoss` is None with the extractive engine.

    `more` holds the embedders beside the first, by name; `reranker` is None where none is installed.
    """

    embedder: Embedder
    queue: EmbedQueue
    engine: Engine
    gptoss: ServedModel | None
    more: dict[str, tuple[Embedder, EmbedQueue]] = field(default_factory=dict)
    reranker: Reranker | None = None

    def embedder_named(self, name: str) -> tuple[Embedder, EmbedQueue]:
        """The embedder of that name with its queue. Raises KeyError for one that is not served."""
        return (self.embedder, self.queue) if name == NAME else self.more[name]


class ServerState:
    """Shared by all requests. Loading runs in a thread of its own; everything else in the event loop."""

    def __init__(self, settings: Settings, *, announce: Callable[[str], None]) -> None:
        self.settings = settings
        self.announce = announce
        self.failure: Exception | None = None
        self.metrics = Metrics(engine_stats=self.engine_stats, in_hand=lambda: self._in_hand)
        self._loaded: Loaded | None = None
        self._in_hand = 0

    @property
    def chat_models(self) -> tuple[str, ...]:
        """The ids that chat answers to, known before anything is loaded."""
        model = self.settings.model
        return (MODEL_ID,) if model is None else (model.name, *(f"{model.name}:{name}" for name in model.adapters))

    @property
    def embedders(self) -> tuple[str, ...]:
        """The names of the embedders, the first one first."""
        return (NAME, *self.settings.embedders)

    @property
    def reranker_name(self) -> str | None:
        """The name of the cross-encoder, which is its folder's; None where none is installed."""
        folder = self.settings.reranker_dir
        return None if folder is None else folder.resolve().name

    @property
    def ready(self) -> bool:
        """Whether requests are served."""
        return self._loaded is not None

    def start_loading(self, *, on_failure: Callable[[], None]) -> None:
        """Load the models in the background. `on_failure` runs in that thread after `failure` is set."""

        def load() -> None:
            try:
                self._load()
            except Exception as error:  # whatever a damaged file raises: the process ends, saying so
                self.failure = error
                on_failure()

        threading.Thread(target=load, name="load", daemon=True).start()

    def _load(self) -> None:
        started = time.monotonic()
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            cpuinfo = ""
        dtype = choose_dtype(self.settings.embed_dtype, cpuinfo)
        embedder = load_embedder(self.settings.embedder_dir, dtype=dtype, threads=self.settings.threads)
        queue = EmbedQueue(embedder)
        served: ServedModel | None = None
        engine: Engine = ExtractiveEngine(queue=queue, embedder=embedder)
        if self.settings.model is not None:
            from inference.gptoss.serving import serve_model  # only this engine needs Transformers

            served = serve_model(self.settings.model)
            engine = served.engine
        more = {name: self._load_more(name, folder, dtype) for name, folder in self.settings.embedders.items()}
        reranker = None
        if self.settings.reranker_dir is not None:
            reranker = load_reranker(self.settings.reranker_dir, dtype=dtype)
        queue.start()
        self._loaded = Loaded(
            embedder=embedder, queue=queue, engine=engine, gptoss=served, more=more, reranker=reranker
        )
        took_s = time.monotonic() - started
        what = "" if served is None else f" {self.chat_models[0]} as {served.tier} on {served.device},"
        self.announce(f"ready after {took_s:.1f} s: engine {engine.name},{what} embedder in {dtype}")

    def _load_more(self, name: str, folder: Path, dtype: Dtype) -> tuple[Embedder, EmbedQueue]:
        embedder = load_embedder(folder, dtype=dtype, threads=self.settings.threads, name=name)
        queue = EmbedQueue(embedder, dimensions=embedder.dimensions)
        queue.start()
        return embedder, queue

    def close(self) -> None:
        """End all answers and stop the threads."""
        if self._loaded is not None:
            for queue in (self._loaded.queue, *(queue for _, queue in self._loaded.more.values())):
                queue.close()
            if self._loaded.reranker is not None:
                self._loaded.reranker.close()
            if self._loaded.gptoss is not None:
                self._loaded.gptoss.engine.close()

    def loaded(self) -> Loaded:
        """Return the models. Raises LoadingError until they are there."""
        if self._loaded is None:
            raise LoadingError("The models are still loading. Try again in a few seconds.")
        return self._loaded

    def engine_stats(self) -> EngineStats | None:
        """Of the token engine; None while loading and with the extractive engine."""
        served = None if self._loaded is None else self._loaded.gptoss
        return None if served is None else served.engine.stats()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold one of the `queue_limit` places. Raises QueueFullError when all are taken."""
        if self._in_hand >= self.settings.queue_limit:
            raise QueueFullError(f"{self._in_hand} requests are already in hand. Try again in a moment.")
        self._in_hand += 1
        try:
            yield
        finally:
            self._in_hand -= 1


def require_model(model: str, served: tuple[str, ...]) -> None:
    """Raise NotFoundError unless `model` is one of `served`."""
    if model not in served:
        raise NotFoundError(
            f"The model {model!r} does not exist here; this endpoint serves {', '.join(served)}.",
            code="model_not_found",
            param="model",
        )
