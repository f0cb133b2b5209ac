"""Small random models on disk: a cross-encoder and an embedder that is not the one that ships.

Made by a process of its own, so that the one that tests loads no torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DIMENSIONS = 48

_MAKE = f"""
import sys
from pathlib import Path
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

torch.manual_seed(7)
letters = "abcdefghijklmnopqrstuvwxyz0123456789.,;:?!'()-/"
special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
words = [*special, *letters, *("##" + letter for letter in letters)]
raw = Tokenizer(WordPiece({{word: place for place, word in enumerate(words)}}, unk_token="[UNK]"))
raw.normalizer, raw.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
raw.post_processor = TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
    mask_token="[MASK]", model_max_length=256,
)
size = dict(vocab_size=len(words), hidden_size={DIMENSIONS}, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=256, initializer_range=0.5)
embedder, reranker = sys.argv[1:]
BertForSequenceClassification(BertConfig(**size, num_labels=1)).save_pretrained(reranker)
tokenizer.save_pretrained(reranker)
BertModel(BertConfig(**size)).save_pretrained(embedder + ".bare")
tokenizer.save_pretrained(embedder + ".bare")
transformer = Transformer(embedder + ".bare", max_seq_length=256)
SentenceTransformer(modules=[transformer, Pooling({DIMENSIONS})], device="cpu").save_pretrained(embedder)
"""


def make(folder: Path) -> tuple[Path, Path]:
    """Writes a random embedder and a random reranker into `folder`, the same ones each time. Returns their folders."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    embedder, reranker = folder / "tiny", folder / "tiny-reranker"
    done = subprocess.run(
        [sys.executable, "-c", _MAKE, str(embedder), str(reranker)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return embedder, reranker
