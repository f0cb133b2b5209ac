"""The environment of each part: settings and addresses, and which part may know which secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from appliance.ops.services.ports import LOOPBACK, Ports
from appliance.ops.services.postgres import database_url
from appliance.ops.services.redis import RedisServer
from appliance.ops.services.secrets import SecretFiles

REPOSITORY = Path(__file__).resolve().parents[2]
OWNER_SETTINGS = ("APPLIANCE_DATABASE_OWNER_URL", "APPLIANCE_DATABASE_OWNER_URL_FILE")
CHECKPOINT_SETTINGS = (
    "APPLIANCE_CHECKPOINT_DIR",
    "APPLIANCE_CHECKPOINT_SYSLOG",
    "APPLIANCE_CHECKPOINT_SYSLOG_CA",
)
SEALER_SETTINGS = (
    "APPLIANCE_DATABASE_SEALER_URL",
    "APPLIANCE_DATABASE_SEALER_URL_FILE",
    "APPLIANCE_SEAL_KEY",
    "APPLIANCE_SEAL_KEY_FILE",
)
WORKER_SETTINGS = ("APPLIANCE_DATABASE_WORKER_URL", "APPLIANCE_DATABASE_WORKER_URL_FILE")
SECRET_SETTINGS = {  # setting -> name of the secret that stands in when the site gives none
    "APPLIANCE_SECRET_KEY": "django_secret",
    "APPLIANCE_MASTER_KEY": "master_key",
    "APPLIANCE_INFERENCE_KEY": "inference_api_key",
    "APPLIANCE_SEAL_KEY": "seal_key",
}
# Libraries that would look for a hub or report use: switched off for every part.
NO_NETWORK = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "USE_HUB_KERNELS": "0",
    "DO_NOT_TRACK": "1",
    "UNSTRUCTURED_DISABLE_NOTICE": "1",
}


def default_data_dir(environment: Mapping[str, str]) -> Path:
    """APPLIANCE_DATA_DIR, else `var` in the repository."""
    return Path(environment.get("APPLIANCE_DATA_DIR", "").strip() or REPOSITORY / "var").resolve()


def is_set(environment: Mapping[str, str], name: str) -> bool:
    """Whether the site gave the setting, directly or as a file."""
    return any(environment.get(key, "").strip() for key in (name, f"{name}_FILE"))


def site_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What the site itself set: every APPLIANCE_ and INFERENCE_ variable that is not empty."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("APPLIANCE_", "INFERENCE_")) and value.strip()
    }


def stack_environment(data_dir: Path, ports: Ports, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Every variable of the set, the owner's database address included: for migrations and manage.py.

    `base` is the site's environment (default: this process's); what it sets stays as it is, and what it does
    not set points at the embedded services. Makes the secrets that are missing.
    """
    given = os.environ if base is None else base
    secrets = SecretFiles(data_dir)
    host = given.get("APPLIANCE_HOST", "").strip() or LOOPBACK
    found = site_settings(given)
    defaults = NO_NETWORK | {
        "APPLIANCE_HOST": host,
        "APPLIANCE_ALLOWED_HOSTS": ",".join(dict.fromkeys((LOOPBACK, "localhost", "[::1]", host))),
        "APPLIANCE_INFERENCE_URL": f"http://{LOOPBACK}:{ports.inference}",
    }
    if not is_set(given, "APPLIANCE_REDIS_URL"):
        defaults["APPLIANCE_REDIS_URL"] = RedisServer(data_dir, port=ports.redis).url
    if not is_set(given, "APPLIANCE_DATABASE_URL"):
        defaults["APPLIANCE_DATABASE_URL"] = database_url(data_dir, ports.postgres, "reading_room_app")
        defaults["APPLIANCE_DATABASE_WORKER_URL"] = database_url(data_dir, ports.postgres, "reading_room_worker")
        defaults["APPLIANCE_DATABASE_SEALER_URL"] = database_url(data_dir, ports.postgres, "reading_room_sealer")
        defaults["APPLIANCE_DATABASE_OWNER_URL"] = database_url(data_dir, ports.postgres, "reading_room_owner")
    for setting, name in SECRET_SETTINGS.items():
        if not is_set(given, setting):
            defaults[f"{setting}_FILE"] = str(secrets.path(name))
    fixed = {
        "APPLIANCE_DATA_DIR": str(data_dir),
        "APPLIANCE_PORT": str(ports.web),
        "APPLIANCE_POSTGRES_PORT": str(ports.postgres),
        "APPLIANCE_REDIS_PORT": str(ports.redis),
        "APPLIANCE_INFERENCE_PORT": str(ports.inference),
    }
    return defaults | found | fixed


def worker_environment(stack: Mapping[str, str]) -> dict[str, str]:
    """For worker and beat: all but the owner's and the sealer's database address, and the key that seals."""
    own = {name: value for name, value in stack.items() if name not in OWNER_SETTINGS + SEALER_SETTINGS}
    return _machine() | own | {"PYTHONUNBUFFERED": "1"}


def application_environment(stack: Mapping[str, str]) -> dict[str, str]:
    """For web: the application's database address alone, whose rows depend on who asks."""
    return {name: value for name, value in worker_environment(stack).items() if name not in WORKER_SETTINGS}


def inference_environment(stack: Mapping[str, str]) -> dict[str, str]:
    """For the model server: no database, no broker, no key but its own."""
    own = {name: value for name, value in stack.items() if name.startswith("INFERENCE_") or name in NO_NETWORK}
    own.setdefault("INFERENCE_PORT", stack["APPLIANCE_INFERENCE_PORT"])
    if not is_set(own, "INFERENCE_API_KEY"):
        for suffix in ("", "_FILE"):
            if value := stack.get(f"APPLIANCE_INFERENCE_KEY{suffix}"):
                own[f"INFERENCE_API_KEY{suffix}"] = value
    return _machine() | own | {"APPLIANCE_DATA_DIR": stack["APPLIANCE_DATA_DIR"], "PYTHONUNBUFFERED": "1"}


def sealer_environment(stack: Mapping[str, str]) -> dict[str, str]:
    """For the sealer: its database address, its key, and where checkpoints go. No other secret."""
    own = {name: value for name, value in stack.items() if name in SEALER_SETTINGS + CHECKPOINT_SETTINGS}
    kept = ("APPLIANCE_DATA_DIR", "APPLIANCE_LOG_LEVEL")
    own |= {name: stack[name] for name in kept if name in stack}
    return _machine() | own | {"PYTHONUNBUFFERED": "1"}


def maintenance_environment(stack: Mapping[str, str]) -> dict[str, str]:
    """For migrations and manage.py: all but the key that seals, which the sealer's own commands alone are given."""
    return _machine() | {name: value for name, value in stack.items() if name not in SEALER_SETTINGS}


def _machine() -> dict[str, str]:
    """This process's environment without our settings, which each part gets its own share of."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("APPLIANCE_", "INFERENCE_", "DATABASE_")) and name != "PGPASSWORD"
    }
