"""The commands of the appliance's own parts: model server, worker, beat, sealer, web; and a look at readiness."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from appliance.ops.environment import (
    REPOSITORY,
    application_environment,
    inference_environment,
    sealer_environment,
    worker_environment,
)
from appliance.ops.services.command import Command

READY_PATH = "/api/v1/health/ready"


def inference_command(stack: Mapping[str, str]) -> Command:
    """The model server: the only process that loads torch."""
    return _python(inference_environment(stack), "-m", "inference", "serve")


def worker_command(stack: Mapping[str, str]) -> Command:
    """Celery for both queues. A task cut off by the stop is taken up again: its state is in PostgreSQL."""
    processes = stack.get("APPLIANCE_WORKER_PROCESSES", "2")
    return _python(
        worker_environment(stack),
        *("-m", "celery", "-A", "appliance.celery", "worker", "-Q", "ingest,jobs", "-c", processes),
        *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
    )


def beat_command(stack: Mapping[str, str]) -> Command:
    """Celery's clock: sends the sweepers on their rounds."""
    directory = Path(stack["APPLIANCE_DATA_DIR"]) / "beat"
    directory.mkdir(mode=0o700, exist_ok=True)
    return _python(
        worker_environment(stack),
        *("-m", "celery", "-A", "appliance.celery", "beat", "-s", str(directory / "schedule")),
        *("--loglevel", "WARNING"),
    )


def sealer_command(stack: Mapping[str, str]) -> Command:
    """Seals the audit, with a database role and a key that no other part has."""
    return _python(sealer_environment(stack), "-m", "appliance.audit.sealer")


def web_command(stack: Mapping[str, str]) -> Command:
    """The pages and the API. Requests under way get five seconds to finish."""
    return _python(
        application_environment(stack),
        *("-m", "uvicorn", "appliance.asgi:application", "--host", stack["APPLIANCE_HOST"]),
        *("--port", stack["APPLIANCE_PORT"], "--no-server-header", "--no-access-log", "--lifespan", "off"),
        *("--timeout-graceful-shutdown", "5", "--log-level", "warning"),
        # Longer than clients and nginx (60 s) keep an idle connection: the side that sends next has to close it.
        *("--timeout-keep-alive", "75"),
    )


COMMANDS = {
    "inference": inference_command,
    "worker": worker_command,
    "beat": beat_command,
    "sealer": sealer_command,
    "web": web_command,
}


def readiness(host: str, port: int) -> tuple[bool, str]:
    """Whether the web part reports ready, and otherwise what is missing, in a few words."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", READY_PATH)
        response = connection.getresponse()
        status, body = response.status, response.read()
    except (OSError, http.client.HTTPException):
        return False, "the web part does not answer yet"
    finally:
        connection.close()
    if status == 200:
        return True, ""
    try:
        parts = json.loads(body)["parts"]
        return False, "not ready: " + ", ".join(
            f"{name} ({state})" for name, state in parts.items() if state not in ("ok", "off")
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False, f"the web part answers {status}"


def _python(environment: dict[str, str], *arguments: str) -> Command:
    return Command(argv=(sys.executable, *arguments), environment=environment, cwd=REPOSITORY)
