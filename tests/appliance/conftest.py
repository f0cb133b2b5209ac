"""Django inside the tests, on the running appliance's database with the workers' role; and people."""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from unittest.mock import patch

import django
import httpx
import pytest
from appliance_desk import Desk, Room
from django.conf import settings
from django.db import connections

# Enough to import models while tests are collected. `django_room` puts the running appliance's settings in place.
_PLACEHOLDERS = {
    "DJANGO_SETTINGS_MODULE": "appliance.settings",
    "APPLIANCE_SECRET_KEY": "placeholder",
    "APPLIANCE_MASTER_KEY": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "APPLIANCE_DATABASE_URL": "postgresql://placeholder:placeholder@127.0.0.1:1/placeholder",
    "APPLIANCE_INFERENCE_KEY": "placeholder",
}


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}


with patch.dict(os.environ, _without_settings() | _PLACEHOLDERS, clear=True):
    django.setup()


@pytest.fixture(scope="session")
def django_room(room: Room) -> Iterator[Room]:
    """The running appliance, with this process's Django on its database (workers' role), files and models."""
    from appliance.llm import client

    with patch.dict(os.environ, _without_settings() | room.environment, clear=True):
        del os.environ["APPLIANCE_DATABASE_OWNER_URL"]
        site = importlib.reload(importlib.import_module("appliance.settings"))
    for name in (name for name in dir(site) if name.isupper()):
        setattr(settings, name, getattr(site, name))
    del settings.DATABASES["default"]["OPTIONS"]["pool"]  # tests restart the database
    connections.settings = connections.configure_settings(settings.DATABASES)
    connections.close_all()
    del connections["default"]
    yield room
    connections.close_all()
    if client._sync is not None:  # kept for the life of a process, which here is not over
        client._sync[1].close()
        client._sync = None


@pytest.fixture(scope="session")
def desk(django_room: Room) -> Iterator[Desk]:
    """Clients of the demo's people, and of mary, who may make collections and manages those she makes."""
    from appliance.accounts.actions import do_create_user
    from appliance.accounts.models import Role, User
    from appliance.ops.commands import COMMAND

    if not User.objects.filter(username="mary").exists():
        do_create_user("mary", "mary's long password", roles=(Role.STAFF, Role.COLLECTION_MANAGER), actor=COMMAND)
    django_room.passwords["mary"] = "mary's long password"
    with ExitStack() as stack:
        yield Desk(django_room, stack)


@pytest.fixture(scope="session")
def alice(desk: Desk) -> httpx.Client:
    """Reads Contracts and Policies."""
    return desk.client("alice")


@pytest.fixture(scope="session")
def bob(desk: Desk) -> httpx.Client:
    """Reads Clinical and Policies."""
    return desk.client("bob")


@pytest.fixture(scope="session")
def charlie(desk: Desk) -> httpx.Client:
    """Has no grant at all."""
    return desk.client("charlie")


@pytest.fixture(scope="session")
def mary(desk: Desk) -> httpx.Client:
    """A collection manager without access to the demo's collections."""
    return desk.client("mary")


@pytest.fixture(scope="session")
def contracts(alice: httpx.Client) -> str:
    """The id of the demo's collection Contracts."""
    return next(str(c["id"]) for c in alice.get("/api/v1/collections").json() if c["name"] == "Contracts")


@pytest.fixture
def new_collection(mary: httpx.Client) -> Iterator[Callable[[], str]]:
    """Makes an empty collection that mary manages and nobody else sees; returns its id.

    Whom a test lets in is shut out again: what the demo's people see stays the demo's.
    """
    from appliance.documents.models import Grant

    made: list[str] = []

    def make() -> str:
        response = mary.post("/api/v1/collections", json={"name": f"Matter {uuid.uuid4()}"})
        assert response.status_code == 201, response.text
        made.append(str(response.json()["id"]))
        return made[-1]

    yield make
    Grant.objects.filter(collection__in=made).exclude(user__username="mary").delete()


@pytest.fixture
def matter(new_collection: Callable[[], str]) -> str:
    """An empty collection that mary manages and nobody else sees."""
    return new_collection()
