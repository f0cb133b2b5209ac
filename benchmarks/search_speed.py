"""How long a search takes over HTTP, and what the access rule costs someone with many groups and grants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from django.db import connection

from appliance.accounts.actions import do_issue_token
from appliance.accounts.models import Group, User
from appliance.documents.models import Collection, Document, Grant
from appliance.documents.search import search
from appliance.ops.commands import COMMAND
from benchmarks.corpus import new_reader
from benchmarks.room import say
from benchmarks.scoring import percentile

NUM_GROUPS = 200
NUM_GRANTS = 5_000
_WARM_UP = 10


def api_client(url: str, user: User) -> httpx.Client:
    """An HTTP client that sends a token of the person."""
    _, secret = do_issue_token(user.username, name="bench", days=1, actor=COMMAND)
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=60, trust_env=False)


def measure(url: str, collection: Collection, reader: User, questions: list[str]) -> dict[str, Any]:
    """POST /api/v1/search one after the other with k=10, then the rule's cost in the database."""
    milliseconds = []
    with api_client(url, reader) as http:
        for number, question in enumerate(questions[:_WARM_UP] + questions):
            began = time.perf_counter()
            response = http.post("/api/v1/search", json={"query": question, "k": 10})
            took = (time.perf_counter() - began) * 1000
            response.raise_for_status()
            if number >= _WARM_UP:
                milliseconds.append(took)
    result: dict[str, Any] = {
        "searches": len(milliseconds),
        "p50_ms": round(percentile(milliseconds, 50), 1),
        "p95_ms": round(percentile(milliseconds, 95), 1),
    }
    result |= _access_overhead(collection, reader, questions)
    say(f"search: {result}")
    return result


def _access_overhead(collection: Collection, single: User, questions: list[str]) -> dict[str, Any]:
    """The same searches by someone with one grant and by someone with many, in turns; both see the same."""
    many = _granted_often(collection)
    people = {"one": _Times(single), "many": _Times(many)}
    for number, question in enumerate(questions[:_WARM_UP] + questions):
        seen = []
        for name in ("one", "many") if number % 2 else ("many", "one"):
            times = people[name]
            began = time.perf_counter()
            with _sql_ms() as spent:
                seen.append([passage.chunk_id for passage in search(times.reader, question, k=10).passages])
            if number >= _WARM_UP:
                times.whole_ms.append((time.perf_counter() - began) * 1000)
                times.sql_ms.append(spent[0])
        if seen[0] != seen[1]:
            raise RuntimeError(f"the two readers see different passages for {question!r}")
    whole = {name: percentile(times.whole_ms, 95) for name, times in people.items()}
    sql = {name: percentile(times.sql_ms, 95) for name, times in people.items()}
    return {
        "access_overhead": round(whole["many"] / whole["one"], 3),
        "access_overhead_sql": round(sql["many"] / sql["one"], 3),
        "whole_p95_ms": {name: round(value, 1) for name, value in whole.items()},
        "sql_p95_ms": {name: round(value, 1) for name, value in sql.items()},
        "groups": NUM_GROUPS,
        "grants": NUM_GRANTS,
    }


@dataclass
class _Times:
    reader: User
    whole_ms: list[float] = field(default_factory=list)
    sql_ms: list[float] = field(default_factory=list)


def _granted_often(collection: Collection) -> User:
    """A person in 200 groups that hold 5,000 grants: on the collection, on its documents, and on empty collections."""
    user = new_reader("bench-many")
    groups = Group.objects.bulk_create([Group(name=f"bench-{number}") for number in range(NUM_GROUPS)])
    user.groups.set(groups)
    empty = Collection.objects.bulk_create([Collection(name=f"Bench {number}") for number in range(50)])
    documents: list[Document] = list(Document.objects.filter(collection=collection))
    grants = []
    for number in range(NUM_GRANTS):
        group = groups[number % NUM_GROUPS]
        if number % 10 == 0:
            grants.append(Grant(group=group, collection=collection))
        elif number % 10 < 4:
            grants.append(Grant(group=group, collection=empty[number % len(empty)], effect="deny"))
        elif number % 10 < 7:
            grants.append(Grant(group=group, collection=empty[number % len(empty)]))
        else:
            grants.append(Grant(group=group, document=documents[number % len(documents)]))
    Grant.objects.bulk_create(grants, batch_size=1_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE documents_grant")
    return user


@contextmanager
def _sql_ms() -> Iterator[list[float]]:
    """Sums the time of the statements run inside, in milliseconds."""
    spent = [0.0]

    def timed(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, parameters, many, context)
        finally:
            spent[0] += (time.perf_counter() - began) * 1000

    with connection.execute_wrapper(timed):
        yield spent
