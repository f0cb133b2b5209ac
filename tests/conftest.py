"""The appliance the tests talk to: one running set with the sample documents, started once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.lib.principal import become
from appliance.ops.environment import REPOSITORY, maintenance_environment
from appliance.ops.stack import Stack

# Short enough that tests of what a dead worker leaves behind do not wait for minutes.
SETTINGS = {
    "APPLIANCE_INGEST_LEASE_S": "6",
    "APPLIANCE_SWEEP_INTERVAL_S": "2",
    "APPLIANCE_MAX_UPLOAD_BYTES": str(3 * 1024 * 1024),
    "APPLIANCE_INFERENCE_SILENCE_TIMEOUT_S": "20",
    # Hundreds of tests ask as the same few people from one address.
    "APPLIANCE_CHAT_PER_MINUTE": "100000",
    "APPLIANCE_SEARCH_PER_MINUTE": "100000",
    "APPLIANCE_SIGN_IN_PER_MINUTE": "100000",
    "APPLIANCE_SIGN_IN_ADDRESS_LIMIT": "100000",
    "APPLIANCE_SIGN_IN_BANNER": "For authorised staff of the trust only.",
    "APPLIANCE_BREAK_GLASS": "true",
    # Tests of alerts have the rules look when they want it; others count events that nobody else may add.
    "APPLIANCE_ALERT_EVERY_S": "3600",
    "OMP_NUM_THREADS": "1",
}


@dataclass
class Room:
    """A running appliance with the demo's people and documents."""

    stack: Stack
    passwords: dict[str, str]

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return self.stack.url

    @property
    def environment(self) -> dict[str, str]:
        """For manage.py and for direct looks at the database."""
        return maintenance_environment(self.stack.environment)

    def manage(self, *arguments: str, check: bool = True) -> dict[str, Any]:
        """Runs a command with --json; returns its object. With check=False also that of a refusal."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments, "--json"],
            env=self.environment,
            cwd=REPOSITORY,
            check=False,
            capture_output=True,
            text=True,
            timeout=180,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"manage.py {arguments} failed:\n{done.stdout}\n{done.stderr}")
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def token(self, username: str) -> str:
        """A fresh API token of a person."""
        return str(self.manage("issue_token", username, "--name", "test", "--days", "1")["token"])

    def client(self, username: str, *, timeout_s: float = 60.0) -> httpx.Client:
        """An HTTP client that sends the person's token."""
        headers = {"Authorization": f"Bearer {self.token(username)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False)

    def browser_session(self, username: str) -> httpx.Client:
        """An HTTP client signed in through the sign-in form, the way a browser is."""
        client = httpx.Client(base_url=self.url, timeout=60.0, trust_env=False, follow_redirects=False)
        client.get("/sign-in")
        form = {
            "username": username,
            "password": self.passwords[username],
            "csrfmiddlewaretoken": client.cookies["reading_room_csrf"],
        }
        response = client.post("/sign-in", data=form, headers={"Referer": self.url})
        assert response.status_code in (302, 303), response.text
        return client


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """The running appliance. Tests that break a part of it put it back, or use their own."""
    data_dir = tmp_path_factory.mktemp("room")
    for folder in (data_dir, data_dir.parent, data_dir.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o011)  # PostgreSQL's own user passes through, when we are root
    with Stack(data_dir, ports="auto", environment=_site()) as stack:
        room = Room(stack, {})
        room.passwords.update(room.manage("seed_demo")["passwords"])
        yield room


def _site() -> dict[str, str]:

    return {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")} | SETTINGS


@pytest.fixture(autouse=True)
def _for_nobody() -> None:
    """A request made inside this process leaves its person behind, as the end of its task does elsewhere."""
    become(None)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds manage.py."""
    return REPOSITORY
