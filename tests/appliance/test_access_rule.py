"""The access rule against a plain re-telling of it, and search under it, inside one process."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import psycopg
import pytest
from appliance_desk import QUESTION, Room
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.accounts.models import Group, User
from appliance.documents import index
from appliance.documents.models import (
    Chunk,
    ChunkEmbedding,
    Collection,
    Document,
    DocumentVersion,
    EmbeddingModel,
    Grant,
)
from appliance.documents.search import Passage, search
from appliance.lib.principal import acting_as
from appliance.llm import client

pytestmark = pytest.mark.usefixtures("django_room")

TIMES = {  # (starts_at, ends_at) in seconds from now -> in force
    (None, None): True,
    (-60, None): True,
    (None, 600): True,
    (-60, 600): True,
    (600, None): False,
    (None, -60): False,
    (-120, -60): False,
    (600, 900): False,
}


@dataclass(frozen=True)
class Rule:
    """A grant: everything by its number. `group` and `on_document` say which kind of thing the number names."""

    group: bool
    principal: int
    on_document: bool
    target: int
    effect: str
    role: str
    times: tuple[int | None, int | None]


@dataclass(frozen=True)
class World:
    """`active` per person, groups as sets of people, documents as the number of their collection, rules."""

    active: tuple[bool, ...]
    members: tuple[frozenset[int], ...]
    documents: tuple[int, ...]
    rules: tuple[Rule, ...]

    def may_see(self, person: int, document: int) -> bool:
        """The rule as a person would tell it."""
        if not self.active[person]:
            return False
        effects = [rule.effect for rule in self.rules if self._concerns(rule, person, document)]
        return "allow" in effects and "deny" not in effects

    def _concerns(self, rule: Rule, person: int, document: int) -> bool:
        named = person in self.members[rule.principal] if rule.group else person == rule.principal
        target = document if rule.on_document else self.documents[document]
        return named and rule.target == target and TIMES[rule.times]


NUM_COLLECTIONS = 2
_rules = st.builds(
    Rule,
    group=st.booleans(),
    principal=st.integers(0, 1),
    on_document=st.booleans(),
    target=st.integers(0, 1),
    effect=st.sampled_from(["allow", "allow", "deny"]),
    role=st.sampled_from(["reader", "contributor", "manager"]),
    times=st.sampled_from(list(TIMES)),
)
worlds = st.builds(
    World,
    active=st.tuples(st.sampled_from([True, True, True, False]), st.just(True)),
    members=st.tuples(*[st.frozensets(st.integers(0, 1))] * 2),
    documents=st.lists(st.integers(0, NUM_COLLECTIONS - 1), min_size=2, max_size=4).map(tuple),
    rules=st.lists(_rules, max_size=8).map(tuple),
)


@contextmanager
def rolled_back() -> Iterator[None]:
    """What is written inside is seen there and nowhere else."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@cache
def vector(text: str) -> list[float]:
    """The text's embedding, from the running model server."""
    return client.embed([text])[0]


def make_document(collection: Collection, text: str) -> Document:
    """A ready document of one chunk, the way ingest leaves one."""
    document = Document.objects.create(
        collection=collection, filename=f"{uuid.uuid4()}.txt", title=text[:50], wrapped_key=b""
    )
    version = DocumentVersion.objects.create(
        document=document, n=1, sha256="", size_bytes=1, blob_key="", status="ready", num_chunks=1
    )
    chunk = Chunk.objects.create(
        version=version, ordinal=0, page=1, start=0, end=len(text), text=text, indexed_text=text
    )
    model = EmbeddingModel.objects.get(active=True)
    ChunkEmbedding.objects.create(chunk=chunk, version=version, model=model, embedding=vector(text))
    num_terms = index.write_postings(connection, version.pk)
    DocumentVersion.objects.filter(pk=version.pk).update(num_terms=num_terms)
    document.current_version = version
    document.save()
    return document


def build(world: World) -> tuple[list[User], list[Document]]:
    """The world as rows."""
    mark = uuid.uuid4().hex[:8]
    people = [User.objects.create(username=f"{mark}-{n}", is_active=active) for n, active in enumerate(world.active)]
    groups = [Group.objects.create(name=f"{mark}-{n}") for n in range(len(world.members))]
    for group, members in zip(groups, world.members, strict=True):
        group.members.set(people[n] for n in members)
    collections = [Collection.objects.create(name=f"{mark}-{n}") for n in range(NUM_COLLECTIONS)]
    documents = [
        make_document(collections[place], f"The marmot number {n} sleeps.") for n, place in enumerate(world.documents)
    ]
    for rule in world.rules:
        Grant.objects.create(**as_row(rule, people, groups, collections, documents))
    return people, documents


def as_row(
    rule: Rule, people: list[User], groups: list[Group], collections: list[Collection], documents: list[Document]
) -> dict[str, Any]:
    def moment(seconds: int | None) -> datetime | None:
        return None if seconds is None else timezone.now() + timedelta(seconds=seconds)

    principal = {"group": groups[rule.principal]} if rule.group else {"user": people[rule.principal]}
    target = {"document": documents[rule.target]} if rule.on_document else {"collection": collections[rule.target]}
    times = {"starts_at": moment(rule.times[0]), "ends_at": moment(rule.times[1])}
    return principal | target | times | {"effect": rule.effect, "role": rule.role}


def shown_by_the_database(person: User, documents: list[Document]) -> set[uuid.UUID]:
    """Without any filter of ours: what row-level security alone lets the person read, row by row of each table."""
    ours = [document.pk for document in documents]
    with acting_as(person.pk):
        shown = set(Document.objects.filter(pk__in=ours).values_list("pk", flat=True))
        for rows in (
            DocumentVersion.objects.filter(document__in=ours).values_list("document_id", flat=True),
            Chunk.objects.filter(version__document__in=ours).values_list("version__document_id", flat=True),
        ):
            assert set(rows) == shown
        assert Chunk.objects.count() == Chunk.objects.filter(version__document__in=Document.objects.all()).count()
    return shown


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds)
def test_who_sees_and_finds_what_agrees_with_the_rule_as_told(world: World) -> None:
    with rolled_back():
        people, documents = build(world)
        for number, person in enumerate(people):
            told = {document.pk for n, document in enumerate(documents) if world.may_see(number, n)}
            assert set(Document.objects.visible_to(person).values_list("pk", flat=True)) == told
            assert shown_by_the_database(person, documents) == told
            found = search(person, "Which marmot sleeps?", k=50)
            assert {passage.document_id for passage in found.passages} == told
            assert found.coverage.documents == found.coverage.searched == len(told)
            assert set(Collection.objects.visible_to(person).values_list("pk", flat=True)) >= {
                document.collection_id for document in documents if document.pk in told
            }


def test_the_example_worlds_hold_both_answers() -> None:
    """The property above says something: the rule tells people apart in each of its parts."""
    allow = Rule(False, 0, False, 0, "allow", "reader", (None, None))
    deny = Rule(True, 0, True, 0, "deny", "reader", (-60, 600))
    world = World((True, True), (frozenset({0}), frozenset()), (0, 0, 1), (allow, deny))
    assert [world.may_see(*pair) for pair in itertools.product(range(2), range(3))] == [False, True, *[False] * 4]


def _scored(passages: list[Passage]) -> list[tuple[uuid.UUID, float, int | None, int | None]]:
    return [(p.document_id, p.score, p.dense_rank, p.lexical_rank) for p in passages]


@pytest.mark.parametrize("limit", [50_000, 0])
def test_what_is_forbidden_is_never_found_and_changes_no_score(limit: int) -> None:
    query = "Where does the capercaillie of zugzwang rest?"
    with rolled_back(), override_settings(EXACT_SEARCH_LIMIT=limit):
        reader = User.objects.create(username=f"reader-{uuid.uuid4().hex[:8]}")
        open_, closed = (Collection.objects.create(name=f"{uuid.uuid4()}") for _ in range(2))
        Grant.objects.create(user=reader, collection=open_)
        for text in ("The capercaillie rests in the pines.", "A grouse is no capercaillie.", "Rest is for the weary."):
            make_document(open_, text)
        alone = search(reader, query).passages
        assert len(alone) == 3 and {p.lexical_rank for p in alone} == {1, 2, 3}
        for n in range(12):
            make_document(closed, f"The capercaillie of zugzwang rests here, at place {n}.")
        assert _scored(search(reader, query).passages) == _scored(alone)
        assert search(reader, "zugzwang").passages[0].lexical_rank is None
        wall = Grant.objects.create(user=reader, collection=closed)
        assert "zugzwang" in search(reader, query).passages[0].text
        wall.effect = "deny"
        wall.save()
        assert _scored(search(reader, query).passages) == _scored(alone)


@pytest.fixture(scope="module")
def vacuumed(django_room: Room) -> None:
    """What was rolled back here is out of the index, as autovacuum does it in time."""
    with psycopg.connect(django_room.environment["APPLIANCE_DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("VACUUM documents_chunkembedding")


@pytest.mark.usefixtures("vacuumed")
@pytest.mark.parametrize("query", [QUESTION, "notice period", "What temperature must insulin be kept at?", "zzzqqq"])
@pytest.mark.parametrize("username", ["alice", "bob"])
def test_the_index_finds_what_reading_everything_finds(django_room: Room, username: str, query: str) -> None:
    person = User.objects.get(username=username)
    exact = search(person, query, k=20).passages
    assert len(exact) == 20
    with override_settings(EXACT_SEARCH_LIMIT=0):
        indexed = search(person, query, k=20).passages
    assert _scored(indexed[:5]) == _scored(exact[:5])
    both = {passage.chunk_id for passage in indexed} & {passage.chunk_id for passage in exact}
    assert len(both) >= 18  # the index is approximate: far down a passage may be missed


def test_the_index_is_what_is_read_when_there_is_much(django_room: Room) -> None:
    """Without it the test above would compare the exact search with itself."""
    statements: list[str] = []

    def listen(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    person = User.objects.get(username="alice")
    with connection.execute_wrapper(listen):
        search(person, QUESTION)
        assert not any("halfvec(384)" in sql for sql in statements)
        with override_settings(EXACT_SEARCH_LIMIT=0):
            search(person, QUESTION)
    assert any("halfvec(384)" in sql for sql in statements)
    assert "SET LOCAL hnsw.iterative_scan = strict_order" in statements
