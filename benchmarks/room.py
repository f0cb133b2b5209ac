"""A running appliance of our own, and Django set up on it in this process. One per process.

Modules that import models are imported only inside `running_room`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.ops.environment import maintenance_environment
from appliance.ops.signals import orderly_signals
from appliance.ops.stack import Stack

# One person asks for hundreds here: the allowance is counted, as anywhere, and never used up.
_UNLIMITED = {"APPLIANCE_CHAT_PER_MINUTE": "1000000", "APPLIANCE_SEARCH_PER_MINUTE": "1000000"}


@dataclass(frozen=True)
class Room:
    """A running set in a temporary data directory."""

    stack: Stack

    def manage(self, *arguments: str) -> dict[str, Any]:
        """Runs a command with --json, whatever its exit status; returns its object."""
        done = self.stack.manage(*arguments, "--json", check=False)
        if not done.stdout.strip():
            raise RuntimeError(f"manage.py {arguments[0]} printed nothing:\n{done.stderr}")
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result


def say(line: str) -> None:
    """A line for a person, on stderr: stdout is for the result."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def running_room(settings: Mapping[str, str] | None = None) -> Iterator[Room]:
    """Starts the set with default settings and `settings`, whatever this process's environment says."""
    site = {name: value for name, value in os.environ.items() if not name.startswith(("APPLIANCE_", "INFERENCE_"))}
    stack = Stack(ports="auto", environment=site | _UNLIMITED | dict(settings or {}), say=say)
    with orderly_signals(stack), stack:
        environment = maintenance_environment(stack.environment)
        for name in [name for name in os.environ if name.startswith(("APPLIANCE_", "INFERENCE_"))]:
            del os.environ[name]
        os.environ.update(environment)
        os.environ["DJANGO_SETTINGS_MODULE"] = "appliance.settings"
        import django

        django.setup()
        try:
            yield Room(stack)
        finally:
            from django.db import connections

            connections.close_all()


def print_result(result: Mapping[str, Any]) -> None:
    """The JSON object, last on stdout."""
    print(json.dumps(result, ensure_ascii=False), flush=True)
