"""What a question names and asks for, near-duplicates, and that neither tells anything of what is out of sight."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from appliance.accounts.models import User
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
from appliance.documents.retrieval.duplicates import collapse
from appliance.documents.retrieval.question import asks, identifiers, topic_of
from appliance.documents.search import search
from appliance.llm import client

pytestmark = pytest.mark.usefixtures("django_room")

SUPPLY = "Tessaly Supply Agreement"
LEASE = "Marrowfield Storage Lease"


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@cache
def vector(text: str) -> list[float]:
    """The text's embedding, from the running model server."""
    return client.embed([text])[0]


def make(collection: Collection, title: str, *texts: str, filename: str = "") -> Document:
    """A ready document with a chunk for each text, the way ingest leaves one."""
    document = Document.objects.create(
        collection=collection, filename=filename or f"{uuid.uuid4()}.txt", title=title, wrapped_key=b""
    )
    version = DocumentVersion.objects.create(
        document=document, n=1, sha256="", size_bytes=1, blob_key="", status="ready", title=title, label=title,
        num_chunks=len(texts),
    )  # fmt: skip
    model = EmbeddingModel.objects.get(active=True)
    for ordinal, text in enumerate(texts):
        chunk = Chunk.objects.create(
            version=version, ordinal=ordinal, page=1, start=0, end=len(text), text=text, indexed_text=text
        )
        ChunkEmbedding.objects.create(chunk=chunk, version=version, model=model, embedding=vector(text))
    DocumentVersion.objects.filter(pk=version.pk).update(num_terms=index.write_postings(connection, version.pk))
    document.current_version = version
    document.save()
    return document


@pytest.fixture
def reader() -> Iterator[tuple[User, Collection, Collection]]:
    """Someone who reads the first collection and not the second; all of it is gone afterwards."""
    with rolled_back():
        user = User.objects.create(username=f"reader-{uuid.uuid4().hex[:8]}")
        open_, closed = (Collection.objects.create(name=f"{uuid.uuid4()}") for _ in range(2))
        Grant.objects.create(user=user, collection=open_)
        yield user, open_, closed


def test_the_named_document_comes_first_whatever_others_say(reader: tuple[User, Collection, Collection]) -> None:
    user, open_, _ = reader
    supply = make(open_, SUPPLY, "Invoices are paid within thirty days of receipt.")
    lease = make(open_, LEASE, "Rent is paid monthly; rent is paid in advance, and how it is paid is agreed.")
    question = "how is the rent paid?"
    assert search(user, question).passages[0].document_id == lease.pk
    named = search(user, f"In the {SUPPLY}: {question}")
    assert named.passages[0].document_id == supply.pk
    assert named.reading is not None and named.reading.topic == question
    scores = named.passages[0].scores
    assert scores is not None and scores.named > 0
    assert scores.total == pytest.approx(
        scores.dense + scores.lexical + scores.named + scores.date + scores.opening + scores.amount + scores.duration
    )


def test_a_matter_number_and_a_date_name_a_document(reader: tuple[User, Collection, Collection]) -> None:
    user, open_, _ = reader
    make(open_, "File note", "The client called about the boundary.", filename="note-a.txt")
    numbered = make(open_, "File note", "The client called about the fence.", filename="MT-20418 note.txt")
    assert search(user, "What did the client call about in MT-20418?").passages[0].document_id == numbered.pk
    assert identifiers("dated 14 March 2019") == identifiers("of March 14th, 2019") == {"2019-03-14"}
    assert identifiers("in 2019, 30 days") == set()


def test_names_out_of_sight_change_nothing(reader: tuple[User, Collection, Collection]) -> None:
    user, open_, closed = reader
    make(open_, LEASE, "Rent is paid monthly in advance.")
    make(open_, "Note", "Invoices are paid within thirty days.")
    question = f"In the {SUPPLY}: how are invoices paid?"
    before = search(user, question)
    for _ in range(3):
        make(closed, SUPPLY, "Invoices are paid within ninety days.", filename=f"{uuid.uuid4()}.txt")
    after = search(user, question)
    assert before.reading is not None and before.reading.named == {}
    assert after.reading == before.reading
    assert [(p.chunk_id, p.score) for p in after.passages] == [(p.chunk_id, p.score) for p in before.passages]


def test_the_same_words_in_several_documents_are_shown_once(reader: tuple[User, Collection, Collection]) -> None:
    user, open_, closed = reader
    text = "Each party keeps the other party's information secret and uses it only for the purpose of the agreement."
    for number in range(3):
        make(open_, f"Form {number}", text)
    make(open_, "Other", "The kitchen is cleaned at noon.")
    make(closed, "Hidden", text)
    passages = search(user, "Is information kept secret?").passages
    assert [passage.text for passage in passages].count(text) == 1
    assert passages[0].more_like_it == 2


def test_another_number_is_another_statement() -> None:
    texts = [f"The fee is {fee} euros for each month of the term of this agreement." for fee in (100, 200, 100)]
    assert collapse(texts, str, limit=3) == [(texts[0], 1), (texts[1], 0)]


def test_one_word_of_a_name_stays_in_the_topic() -> None:
    lexemes = {"supply": ["suppli"], "agreement": ["agreement"], "licence": ["licenc"], "granted": ["grant"]}
    names = {"suppli", "agreement"}
    assert "supply" not in topic_of("Under the supply agreement, is a licence granted?", lexemes, names)
    assert topic_of("What is the supply?", lexemes, names) == "What is the supply?"


def test_what_a_question_asks_for() -> None:
    assert asks("On what date does it end?").date
    assert asks("Who are the parties?").opening
    assert asks("How much is the fee?").amount
    assert asks("How long is the notice period?").duration
    assert not any((asks("Where is insulin kept?").date, asks("Where is insulin kept?").amount))


def test_what_the_index_gives_up_on_is_read_in_full(
    reader: tuple[User, Collection, Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    user, open_, closed = reader
    monkeypatch.setattr("appliance.documents.retrieval.ranking._EF_SEARCH", 1)
    question = "harbour dredging"
    crowd(closed, vector(question), 600)
    mine = {make(open_, f"Note {number}", f"Kettles whistle at {number}.").pk for number in range(3)}
    with connection.cursor() as cursor:  # among so few rows the planner would never ask the index
        for setting in ("hnsw.max_scan_tuples = 1", "enable_sort = off", "enable_seqscan = off"):
            cursor.execute(f"SET LOCAL {setting}")
    with override_settings(EXACT_SEARCH_LIMIT=0), CaptureQueriesContext(connection) as said:
        found = search(user, question)  # none of its words is in a note: only meaning brings candidates
    ranked = [query["sql"] for query in said if "dense AS MATERIALIZED" in query["sql"]]
    assert ["vector_dims" in sql for sql in ranked] == [True, False]
    assert {passage.document_id for passage in found.passages} == mine


def crowd(collection: Collection, near: list[float], number: int) -> None:
    """A document with so many chunks about as near to a question as can be."""
    document = make(collection, "Crowd", "Crowd.")
    version, noise = document.current_version, random.Random(4)
    assert version is not None
    model = EmbeddingModel.objects.get(active=True)
    chunks = Chunk.objects.bulk_create(
        Chunk(version=version, ordinal=place, page=1, start=0, end=1, text=f"{place}", indexed_text=f"{place}")
        for place in range(1, number + 1)
    )
    ChunkEmbedding.objects.bulk_create(
        ChunkEmbedding(
            chunk=chunk, version=version, model=model, embedding=[part + noise.gauss(0, 0.004) for part in near]
        )
        for chunk in chunks
    )
