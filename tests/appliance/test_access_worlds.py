"""Ten thousand random pairs of person and document, with groups, walls and times: nobody gets what is not theirs.

The rule as told below, the querysets and row-level security have to agree on each pair. Then some of those people
search, ask and stumble, and no document they may not see leaves a trace in what they get, in what the model was given,
or in the log.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import pytest
from appliance_desk import Room, evidence_since, last_event_id
from django.db import connection, transaction
from django.utils import timezone

from appliance.accounts.actions import do_issue_token
from appliance.accounts.models import Group, Membership, User
from appliance.documents import index
from appliance.documents.models import (
    Chunk,
    ChunkEmbedding,
    Collection,
    Document,
    DocumentVersion,
    EmbeddingModel,
    Grant,
    VersionText,
)
from appliance.lib.principal import acting_as
from appliance.llm import client
from appliance.ops.commands import COMMAND

pytestmark = pytest.mark.usefixtures("django_room")

SEED, PEOPLE, GROUPS, COLLECTIONS, DOCUMENTS, GRANTS = 20261120, 50, 25, 12, 200, 260
WHO_ASKS = 12


@dataclass
class Told:
    """The world in plain sets, and the rule as a person would tell it."""

    people: list[User]
    documents: list[Document]
    inactive: set[uuid.UUID] = field(default_factory=set)
    groups_of: dict[uuid.UUID, set[uuid.UUID]] = field(default_factory=dict)
    rules: list[tuple[uuid.UUID, uuid.UUID, str]] = field(default_factory=list)  # who, what, effect: in force only

    def may_see(self, person: User, document: Document) -> bool:
        """Active, let in by some rule, shut out by none."""
        if person.pk in self.inactive:
            return False
        names = {person.pk} | self.groups_of[person.pk]
        parent = document.parent_id
        things = {document.pk, document.collection_id} | ({parent} if parent else set())
        effects = {effect for who, what, effect in self.rules if who in names and what in things}
        return effects == {"allow"}


def word_of(document: Document) -> str:
    """A word that stands in no other document."""
    return f"canary{document.pk.hex[:12]}"


@pytest.fixture(scope="module")
def world(django_room: Room) -> Iterator[Told]:
    """People in nested groups, documents and their attachments, grants and walls of all kinds; removed at the end."""
    chance = random.Random(SEED)
    mark = uuid.uuid4().hex[:8]
    with transaction.atomic():
        people = User.objects.bulk_create([User(username=f"w{mark}-{n}", is_active=n % 17 != 3) for n in range(PEOPLE)])
        groups = Group.objects.bulk_create([Group(name=f"w{mark}-{n}") for n in range(GROUPS)])
        collections = Collection.objects.bulk_create([Collection(name=f"w{mark}-{n}") for n in range(COLLECTIONS)])
        documents = _documents(chance, collections)
        told = Told(people, documents, {person.pk for person in people if not person.is_active})
        _memberships(chance, told, groups)
        _rules(chance, told, groups, collections)
    yield told
    with transaction.atomic():
        Document.objects.filter(collection__in=collections).delete()
        Collection.objects.filter(pk__in=[collection.pk for collection in collections]).delete()
        Group.objects.filter(pk__in=[group.pk for group in groups]).delete()
        User.objects.filter(pk__in=[person.pk for person in people]).update(is_active=False)


def _documents(chance: random.Random, collections: list[Collection]) -> list[Document]:
    model = EmbeddingModel.objects.get(active=True)
    documents: list[Document] = []
    for number in range(DOCUMENTS):
        parent = documents[-1] if number % 9 == 8 and documents[-1].parent_id is None else None
        collection = parent.collection if parent else chance.choice(collections)
        documents.append(
            Document.objects.create(
                collection=collection, filename=f"{number}.txt", title=f"Note {number}", wrapped_key=b"", parent=parent
            )
        )
    texts = [f"The marmot of the note sleeps at {word_of(document)} until spring." for document in documents]
    vectors = client.embed(texts)
    for document, text, vector in zip(documents, texts, vectors, strict=True):
        document.title = f"Note {word_of(document)}"
        version = DocumentVersion.objects.create(
            document=document, n=1, sha256="", size_bytes=1, blob_key="", status="ready", num_chunks=1, num_pages=1
        )
        VersionText.objects.create(version=version, text=text, pages=[[1, 0, len(text)]])
        chunk = Chunk.objects.create(
            version=version, ordinal=0, page=1, start=0, end=len(text), text=text, indexed_text=text
        )
        ChunkEmbedding.objects.create(chunk=chunk, version=version, model=model, embedding=vector)
        version.num_terms = index.write_postings(connection, version.pk)
        version.save()
        document.current_version = version
        document.save()
    return documents


def _memberships(chance: random.Random, told: Told, groups: list[Group]) -> None:
    """Each person in some groups, and in what those are nested in: the directory flattens that for us."""
    parents = {
        group.pk: [other for other in groups[:number] if chance.random() < 0.08] for number, group in enumerate(groups)
    }
    for person in told.people:
        direct = set(chance.sample(groups, chance.randint(0, 4)))
        held, open_ = set[Group](), list(direct)
        while open_:
            group = open_.pop()
            if group not in held:
                held.add(group)
                open_.extend(parents[group.pk])
        told.groups_of[person.pk] = {group.pk for group in held}
        Membership.objects.bulk_create([Membership(user=person, group=group, direct=group in direct) for group in held])


def _rules(chance: random.Random, told: Told, groups: list[Group], collections: list[Collection]) -> None:
    now, hour = timezone.now(), timedelta(hours=1)
    for _ in range(GRANTS):
        effect = "deny" if chance.random() < 0.2 else "allow"
        group = chance.choice(groups) if chance.random() < 0.7 else None
        person = None if group else chance.choice(told.people)
        collection = chance.choice(collections) if chance.random() < (0.2 if effect == "deny" else 0.6) else None
        document = None if collection else chance.choice(told.documents)
        starts, ends, in_force = chance.choice(
            [(None, None, True)] * 5
            + [(now - hour, now + hour, True), (now + hour, None, False), (None, now - hour, False)]
        )
        Grant.objects.create(
            user=person, group=group, collection=collection, document=document, effect=effect,
            role=chance.choice(["reader", "contributor", "manager"]), starts_at=starts, ends_at=ends,
        )  # fmt: skip
        if in_force:
            who, what = group or person, collection or document
            assert who is not None and what is not None
            told.rules.append((who.pk, what.pk, effect))


def test_told_compiled_and_locked_agree_on_ten_thousand_pairs(world: Told) -> None:
    ours = [document.pk for document in world.documents]
    seen = unseen = 0
    for person in world.people:
        told = {document.pk for document in world.documents if world.may_see(person, document)}
        compiled = set(Document.objects.visible_to(person).filter(pk__in=ours).values_list("pk", flat=True))
        with acting_as(person.pk):
            locked = set(Document.objects.values_list("pk", flat=True))
            texts = set(VersionText.objects.values_list("version__document_id", flat=True))
            chunks = set(Chunk.objects.values_list("version__document_id", flat=True))
        assert compiled == told == locked == texts == chunks
        seen, unseen = seen + len(told), unseen + len(ours) - len(told)
    assert seen + unseen == PEOPLE * DOCUMENTS >= 10_000
    assert min(seen, unseen) > 1_000, "the world holds too little of one kind to say anything"


def test_what_people_get_holds_no_word_of_what_is_not_theirs(world: Told, django_room: Room) -> None:
    log = django_room.stack.log_file
    said_before = log.stat().st_size
    everything = {word_of(document): document for document in world.documents}
    active = [person for person in world.people if person.is_active]
    reached = 0
    for person in active[:WHO_ASKS]:
        mine = {word_of(document) for document in world.documents if world.may_see(person, document)}
        forbidden = sorted(set(everything) - mine)
        _, secret = do_issue_token(person.username, name="test", days=1, actor=COMMAND)
        headers = {"Authorization": f"Bearer {secret}"}
        before = last_event_id()
        with httpx.Client(base_url=django_room.url, headers=headers, timeout=60, trust_env=False) as caller:
            found = _everything_said_to(caller, sorted(mine), forbidden, everything)
        given = {  # what was put before the model, and what was shown otherwise
            entity["id"]
            for event in evidence_since(before)
            for entity in event["entities"]
            if entity["kind"] == "document" and event["outcome"] == "success"
        }
        assert given <= {str(everything[word].pk) for word in mine}
        shown = {word for word in everything if word in found}
        assert shown <= mine
        assert shown == mine, "something that is theirs could not be reached"
        reached += len(shown)
    assert reached > 0
    with log.open("rb") as lines:
        lines.seek(said_before)
        said = lines.read().decode(errors="replace")
    assert not [word for word in everything if word in said]


def _everything_said_to(
    caller: httpx.Client, mine: list[str], forbidden: list[str], everything: dict[str, Document]
) -> str:
    """What the appliance answers someone who looks everywhere, theirs and not; the words they typed are taken out."""
    said = [caller.get("/api/v1/documents", params={"limit": 500}).text]
    said.append(
        caller.post("/api/v1/search", json={"query": "Where does the marmot of the note sleep?", "k": 100}).text
    )
    said.append(caller.post("/api/v1/find", json={"text": "canary"}).text)
    ask = {
        "model": "extractive",
        "collections": [],
        "messages": [{"role": "user", "content": "Where does the marmot sleep?"}],
    }
    said.append(caller.post("/v1/chat/completions", json=ask).text)
    for word in forbidden[:6]:
        document = everything[word]
        for address in (
            f"/api/v1/documents/{document.pk}",
            f"/api/v1/documents/{document.pk}/versions/1/text",
            f"/api/v1/documents/{document.pk}/versions/1/content",
        ):
            answer = caller.get(address)
            assert answer.status_code == 404
            said.append(answer.text)
        found = caller.post("/api/v1/search", json={"query": f"What is at {word}?", "k": 20})
        said.append(found.text)
        refused = caller.post("/api/v1/search", json={"query": word, "collections": [str(document.collection_id)]})
        said.append(refused.text.replace(word, ""))
    for word in mine:
        said.append(caller.get(f"/api/v1/documents/{everything[word].pk}/versions/1/text").text)
    return "\n".join(said)
