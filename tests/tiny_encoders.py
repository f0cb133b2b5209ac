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
kind, folder = sys.argv[1:]
if kind == "reranker":
    BertForSequenceClassification(BertConfig(**size, num_labels=1)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
else:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    BertModel(BertConfig(**size)).save_pretrained(folder + ".bare")
    tokenizer.save_pretrained(folder + ".bare")
    transformer = Transformer(folder + ".bare", max_seq_length=256)
    SentenceTransformer(modules=[transformer, Pooling({DIMENSIONS})], device="cpu").save_pretrained(folder)
"""


def make(kind: str, folder: Path) -> Path:
    """Writes a random model of `kind` ("reranker" or "embedder") to `folder`, the same one each time."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _MAKE, kind, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder
