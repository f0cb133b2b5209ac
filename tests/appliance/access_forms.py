"""Forms of the access pages, sent the way a browser without script sends them; and people made for one test."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from appliance_desk import Desk

PASSWORD = "a password of some length"


def send(client: httpx.Client, address: str, **form: Any) -> httpx.Response:
    """Posts a form with the session's security token; lists are sent as repeated fields."""
    form["csrfmiddlewaretoken"] = client.cookies["reading_room_csrf"]
    return client.post(address, data=form, headers={"Referer": str(client.base_url)})


def new_person(desk: Desk, *roles: Any) -> str:
    """A person with these roles who can sign in; returns the account's name."""
    from appliance.accounts.actions import do_create_user
    from appliance.ops.commands import COMMAND

    name = f"p-{uuid.uuid4().hex[:10]}"
    do_create_user(name, PASSWORD, roles=roles, actor=COMMAND)
    desk.room.passwords[name] = PASSWORD
    return name


@contextmanager
def signed_in(desk: Desk, username: str) -> Iterator[httpx.Client]:
    """A browser's session of a person."""
    client = desk.room.browser_session(username)
    try:
        yield client
    finally:
        client.close()


def words(response: httpx.Response) -> str:
    """What a page says, without its tags and with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))
