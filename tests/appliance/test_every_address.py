"""Every address of the appliance, asked for by each kind of person. An address that the table does not name fails.

What can be read is asked for with alice's own ids; what changes something with ids of nothing, so that the table can be
gone through again and again. `addresses.txt` holds the expected status for each; 404 is what a stranger gets.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from appliance_desk import QUESTION, Room, chats_of, until
from django.urls import URLPattern, URLResolver, get_resolver

TABLE = Path(__file__).with_name("addresses.txt")
WHO = ("nobody", "alice", "bob", "charlie", "cora", "root")
NOTHING = "00000000-0000-4000-8000-000000000000"
#: Asked for elsewhere: they would end the session that the table is gone through with.
ELSEWHERE = {"POST /sign-out"}


def addresses() -> list[str]:
    """METHOD and pattern of every address: GET and POST of pages, what the OpenAPI document names of /api/v1."""
    from appliance.api.rest import api

    found = []
    for pattern in _patterns(get_resolver().url_patterns, "/"):
        if not pattern.startswith("/api/v1/") or pattern.startswith("/api/v1/health"):
            found += [f"GET {pattern}", f"POST {pattern}"]
    for pattern, operations in api.get_openapi_schema(path_prefix="/api/v1/")["paths"].items():
        found += [f"{method.upper()} {pattern}" for method in operations]
    return sorted(set(found) - ELSEWHERE)


def _patterns(entries: list[URLPattern | URLResolver], above: str) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, URLResolver):
            yield from _patterns(entry.url_patterns, above + str(entry.pattern))
        else:
            yield above + str(entry.pattern)


@pytest.fixture(scope="module")
def places(django_room: Room) -> dict[str, str]:
    """What the names in addresses stand for: things of alice's."""
    from appliance.chat.models import Message
    from appliance.documents.models import Document

    document = Document.objects.filter(collection__name="Contracts").order_by("title").first()
    assert document is not None
    with closing(django_room.browser_session("alice")) as browser:
        fields = {"text": QUESTION, "csrfmiddlewaretoken": browser.cookies["reading_room_csrf"]}
        asked = browser.post("/chat/ask", data=fields, headers={"Referer": django_room.url})
    conversation = asked.headers["Location"].rsplit("/", 1)[-1].split("#")[0]
    with chats_of("alice"):
        answer = until(
            lambda: Message.objects.filter(conversation=conversation, role="assistant", status="finished").first()
        )
    return {
        "document": str(document.pk),
        "collection": str(document.collection_id),
        "conversation": conversation,
        "answer": str(answer.pk),
    }


@pytest.fixture(scope="module")
def asking(django_room: Room) -> Iterator[dict[str, tuple[httpx.Client, httpx.Client]]]:
    """For each kind of person: a browser and a program."""
    with ExitStack() as stack:
        clients = {}
        for name in WHO:
            if name == "nobody":
                browser = httpx.Client(base_url=django_room.url, timeout=60, trust_env=False)
                browser.get("/sign-in")
                program = httpx.Client(base_url=django_room.url, timeout=60, trust_env=False)
            else:
                browser = django_room.browser_session(name)
                headers = {"Authorization": f"Bearer {django_room.token(name)}"}  # type: ignore[attr-defined]
                program = httpx.Client(base_url=django_room.url, headers=headers, timeout=60, trust_env=False)
            stack.callback(browser.close)
            stack.callback(program.close)
            clients[name] = (browser, program)
        yield clients


def filled(address: str, places: dict[str, str]) -> tuple[str, str]:
    """METHOD and a path with real ids for what is only read, with ids of nothing for everything else."""
    method, pattern = address.split(" ")
    path = pattern.replace("<", "{").replace(">", "}")
    while "{" in path:
        before, _, rest = path.partition("{")
        name, _, after = rest.partition("}")
        kind, _, name = name.rpartition(":")
        known = places.get(name.removesuffix("_id"), NOTHING) if method == "GET" else NOTHING
        path = before + ("1" if kind == "int" or name in ("n", "number", "ordinal") else known) + after
    return method, path


def status_of(clients: tuple[httpx.Client, httpx.Client], method: str, path: str) -> int:
    browser, program = clients
    client = program if path.startswith(("/api/", "/v1/")) else browser
    headers = {}
    if client is browser and method != "GET":
        headers = {"X-CSRFToken": browser.cookies.get("reading_room_csrf", ""), "Referer": str(browser.base_url)}
    with client.stream(method, path, headers=headers) as response:
        return response.status_code


def test_every_address_answers_each_kind_of_person_as_the_table_says(
    asking: dict[str, tuple[httpx.Client, httpx.Client]], places: dict[str, str]
) -> None:
    found = []
    for address in addresses():
        method, path = filled(address, places)
        statuses = " ".join(str(status_of(asking[name], method, path)) for name in WHO)
        found.append(f"{statuses}  {address}")
    told = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    assert found == told, "as it is:\n" + "\n".join(found)


def test_only_her_own_people_get_what_is_alices() -> None:
    """The table itself: where alice reads with her own ids, nobody, charlie and those who run the place do not."""
    for line in TABLE.read_text().splitlines():
        if line.startswith("#") or "GET " not in line or "{" not in line and "<" not in line:
            continue
        statuses = dict(zip(WHO, line.split()[:6], strict=True))
        if statuses["alice"] == "200":
            assert statuses["charlie"] == statuses["cora"] == statuses["root"] == "404", line
            assert statuses["nobody"] in ("302", "401"), line


def test_ids_of_nothing_are_ids() -> None:
    assert uuid.UUID(NOTHING).version == 4
