"""A slapd, and a second web process of the running appliance that signs people in with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from appliance_desk import Room, until
from directory_server import DirectoryServer, _free_port
from django.test import override_settings

from appliance.accounts.directory.options import Options
from appliance.ops.parts import web_command


def settings_of(options: Options) -> dict[str, str]:
    """The environment that says the same as `options`."""
    prefix = "APPLIANCE_LDAP_"
    named = {f"{prefix}{name.upper()}": str(getattr(options, name)) for name in Options.__dataclass_fields__}
    return named


@dataclass
class DirectoryRoom:
    """The appliance with a directory."""

    room: Room
    server: DirectoryServer
    url: str

    def sign_in(self, name: str, password: str) -> tuple[httpx.Client, httpx.Response]:
        """What the sign-in form answers, and the browser that sent it: close it."""
        client = httpx.Client(base_url=self.url, timeout=30, trust_env=False, follow_redirects=False)
        client.get("/sign-in")
        form = {"username": name, "password": password, "csrfmiddlewaretoken": client.cookies["reading_room_csrf"]}
        return client, client.post("/sign-in", data=form, headers={"Referer": self.url})

    def answer(self, name: str, password: str) -> httpx.Response:
        """What the sign-in form answers."""
        client, response = self.sign_in(name, password)
        client.close()
        return response

    def sync(self, **how: Any) -> dict[str, Any]:
        """A sync inside this process."""
        from appliance.accounts.directory.sync import sync
        from appliance.ops.commands import COMMAND

        with override_settings(DIRECTORY=self.server.options(**how.pop("options", {}))):
            return sync(**how, actor=COMMAND)


def forget_directory() -> None:
    """No directory account, group or state is left in the database."""
    from appliance.accounts.models import ApiToken, DirectoryState, Group, Membership, Session, User

    for model in (Membership, ApiToken, Session):
        model.objects.exclude(user__directory_id=None).delete()
    # Nothing refers to these any more, and Django would look for it twenty thousand times.
    User.objects.filter(directory_id__isnull=False, username__startswith="crowd")._raw_delete("default")
    User.objects.exclude(directory_id=None).delete()
    Group.objects.exclude(directory_id=None).delete()
    DirectoryState.objects.all().delete()


@contextmanager
def directory_room(room: Room, folder: Path, **options: Any) -> Iterator[DirectoryRoom]:
    """Starts both, and stops them."""
    server = DirectoryServer(folder)
    server.start()
    port = _free_port()
    chosen = server.options(**options)
    environment = room.stack.environment | settings_of(chosen) | {"APPLIANCE_PORT": str(port)}
    command = web_command(environment)
    web = subprocess.Popen(command.argv, env=dict(command.environment), cwd=command.cwd)
    try:
        url = f"http://127.0.0.1:{port}"
        with closing(httpx.Client(base_url=url, trust_env=False)) as client:
            until(lambda: web.poll() is None and _lives(client), timeout_s=60)
        yield DirectoryRoom(room, server, url)
    finally:
        web.terminate()
        web.wait(20)
        server.stop()
        forget_directory()


def _lives(client: httpx.Client) -> bool:
    try:
        return client.get("/api/v1/health/live").status_code == 200
    except httpx.HTTPError:
        return False
