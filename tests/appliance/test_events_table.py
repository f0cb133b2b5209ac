"""Every address and every task, and the events that it must write. One that the table does not name fails.

`events.txt` has a line for each: what is written when it does what it is for, or `-` and why nothing has to be. What is
read is asked for here, by somebody who may; what changes something has tests of its own, and here its events must be
ones that some code writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from appliance_desk import Desk, last_event_id
from test_every_address import addresses, filled, places  # noqa: F401  (a fixture)

from appliance.audit.models import AuditEvent
from appliance.celery import app
from appliance.ops.environment import REPOSITORY

TABLE = Path(__file__).with_name("events.txt")
_READERS = ("alice", "cora", "root")


def table() -> dict[str, str]:
    """Address or task -> its events, as written."""
    lines = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    return {line.partition("  ")[0]: line.partition("  ")[2].strip() for line in lines}


def events_of(told: str) -> set[str]:
    return set() if told.startswith("-") else set(told.split(" (")[0].split())


def places_of_code() -> list[str]:
    """Addresses that answer to the method they are listed with, and tasks."""
    told = Path(__file__).with_name("addresses.txt").read_text().splitlines()
    alive = {line.split("  ")[1] for line in told if not line.startswith("#") and line.split()[1] != "405"}
    tasks = [f"task {name}" for name in app.tasks if not name.startswith("celery.")]
    return sorted(alive & set(addresses())) + sorted(tasks)


@pytest.fixture(scope="module")
def readers(desk: Desk) -> Iterator[dict[str, tuple[httpx.Client, httpx.Client]]]:
    with ExitStack() as stack:
        yield {
            name: (stack.enter_context(closing(desk.room.browser_session(name))), desk.client(name))
            for name in _READERS
        }


def written_since(pk: int, place: str) -> set[str]:
    canonical = AuditEvent.objects.filter(pk__gt=pk).values_list("canonical", flat=True)
    evidence = [json.loads(bytes(each)) for each in canonical]
    return {event["action"] for event in evidence if event["observer"]["place"] == place}


def test_every_address_and_task_is_in_the_table() -> None:
    app.loader.import_default_modules()
    assert list(table()) == places_of_code()


def test_what_is_read_writes_what_the_table_says(
    readers: dict[str, tuple[httpx.Client, httpx.Client]],
    places: dict[str, str],  # noqa: F811
) -> None:
    found = {}
    for address in table():
        if not address.startswith("GET "):
            continue
        method, path = filled(address, places)
        place = f"{method} {address.split(' ')[1].replace('{', '<').replace('}', '>')}"
        for browser, program in readers.values():
            before = last_event_id()
            client = program if path.startswith(("/api/", "/v1/")) else browser
            with client.stream(method, path) as response:
                response.read()
            if response.status_code < 400:
                written = written_since(before, place)
                if written or "else nothing" not in table()[address]:
                    found[address] = written
                break
    print("\n".join(f"{address}  {' '.join(sorted(events)) or '-'}" for address, events in found.items()))
    assert {address: events_of(table()[address]) for address in found} == found


def test_the_events_of_what_changes_something_are_ones_that_code_writes() -> None:
    source = "\n".join(path.read_text() for path in (REPOSITORY / "appliance").rglob("*.py"))
    for address, told in table().items():
        for action in events_of(told):
            assert re.search(rf'"{re.escape(action)}"|f"\{{\w+\}}\.{re.escape(action.split(".")[-1])}"', source), (
                address
            )
