"""The reranker: a cross-encoder that reads a question and a passage together and says how well they fit.

Any model that sentence-transformers loads as a CrossEncoder with one output, from a folder of this machine. Slower by
far than comparing vectors, so it is given the few best passages only. Torch is imported inside `load_reranker`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from inference.embedding.embedder import Dtype
from inference.errors import ModelFileError

BATCH_PAIRS = 16
MAX_TOKENS = 512  # of question and passage together, where the model's own files do not say less


class Reranker:
    """A loaded cross-encoder and the one thread that runs it."""

    def __init__(self, model: Any, name: str) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rerank")
        self.name = name

    async def score(self, query: str, documents: Sequence[str]) -> list[float]:
        """How well each of `documents` answers `query`, 0 to 1, in their order.

        Cancelling the caller drops the batches that have not run.
        """
        loop = asyncio.get_running_loop()
        scores: list[float] = []
        for first in range(0, len(documents), BATCH_PAIRS):
            batch = [(query, document) for document in documents[first : first + BATCH_PAIRS]]
            scores += await loop.run_in_executor(self._thread, self.score_pairs, batch)
        return scores

    def score_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The scores of one batch. Belongs to the one thread."""
        import torch

        with torch.inference_mode():
            scores = self._model.predict(
                list(pairs), batch_size=BATCH_PAIRS, activation_fn=torch.nn.Sigmoid(), show_progress_bar=False
            )
        return [float(score) for score in scores]

    def close(self) -> None:
        """End the thread; what waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def load_reranker(folder: Path, *, dtype: Dtype) -> Reranker:
    """Load the model in `folder` and run it once. Raises ModelFileError when there is none with one output."""
    import torch
    from sentence_transformers import CrossEncoder

    name = folder.resolve().name
    try:
        model = CrossEncoder(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": getattr(torch, dtype)},
        )
    except Exception as error:  # whatever a damaged or foreign file makes the libraries trip over
        raise ModelFileError(f"reranker {name}: {folder} cannot be loaded: {type(error).__name__}: {error}") from error
    if model.num_labels != 1:
        raise ModelFileError(f"reranker {name}: {folder} gives {model.num_labels} figures for a pair; one is needed")
    model.max_length = min(model.max_length or MAX_TOKENS, MAX_TOKENS)
    reranker = Reranker(model, name)
    reranker.score_pairs([("warm", "up")])
    return reranker
