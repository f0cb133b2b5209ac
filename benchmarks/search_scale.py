"""A database of very many made chunks, people who see a share of them, and what their searches find and take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
from django.db import connection
from django.db.models import Max
from django.test import override_settings
from numpy.typing import NDArray

from appliance.accounts.models import User
from appliance.documents.actions import do_create_collection
from appliance.documents.models import Collection, Document, DocumentVersion, EmbeddingModel, VersionStatus
from appliance.documents.search import Passage, search
from appliance.llm import client
from appliance.ops.commands import COMMAND
from benchmarks.corpus import new_reader
from benchmarks.room import Room, say
from benchmarks.scoring import percentile

CHUNKS_PER_DOCUMENT = 50
_NOISE = 0.025  # per component; a unit vector of 384 then keeps a cosine of about 0.9 to the original
_BATCH = 50_000
_K = 10

#: Shares of the documents in each collection; a reader of a share sees the collections up to it.
_PARTS = (("0.001", 0.001), ("0.01", 0.009), ("0.1", 0.09), ("1.0", 0.9))


@dataclass(frozen=True, slots=True)
class Built:
    """The made collections by the share that they complete, questions to ask, and what building took."""

    collections: dict[str, Collection]
    questions: list[str]
    figures: dict[str, Any] = field(default_factory=dict)


def build(room: Room, chunks: int) -> Built:
    """Makes `chunks` chunks in documents of 50, and the indexes anew when there are many."""
    source_ids, texts, vectors = _source()
    began = time.monotonic()
    collections = {share: do_create_collection(f"Made {share}", acting_user=None, actor=COMMAND) for share, _ in _PARTS}
    server = room.stack.postgres
    assert server is not None, "the appliance of a benchmark has a database of its own"
    # As superuser: PostgreSQL copies nothing into a table with row-level security for anybody else.
    with psycopg.connect(server.url("postgres", "reading_room"), autocommit=True) as owner:
        indexes = _drop_indexes(owner)
        first = _documents(owner, collections, chunks)
        _chunks(owner, first, chunks, source_ids)
        _embeddings(owner, source_ids, vectors)
        copied_s = time.monotonic() - began
        began = time.monotonic()
        owner.execute("SET maintenance_work_mem = '2GB'")
        owner.execute("SET max_parallel_maintenance_workers = 2")
        for definition in indexes:
            owner.execute(definition)
        indexed_s = time.monotonic() - began
        owner.execute(
            "UPDATE documents_documentversion AS v SET num_terms = t.terms FROM ("
            " SELECT version_id, sum(tf) AS terms FROM documents_posting GROUP BY version_id"
            ") AS t WHERE t.version_id = v.id"
        )
        owner.execute("VACUUM ANALYZE")
        row = owner.execute(
            "SELECT pg_relation_size('chunkembedding_hnsw_384'), pg_indexes_size('documents_posting')"
        ).fetchone()
    index_bytes, posting_bytes = row or (0, 0)
    figures = {
        "build_s": round(indexed_s, 1),
        "copy_s": round(copied_s, 1),
        "index_bytes": index_bytes,
        "posting_index_bytes": posting_bytes,
    }
    return Built(collections, _questions(texts), figures)


def readers(built: Built) -> dict[str, User]:
    """Someone for each share, who may read the collections up to it; the largest share first."""
    people, seen = {}, []
    for share, _ in _PARTS:
        seen.append(built.collections[share])
        people[share] = new_reader(f"share-{share}", *seen)
    return dict(reversed(people.items()))


def measure(reader: User, built: Built, *, questions: int, compared: int) -> tuple[dict[str, float], int]:
    """Recall of ten against reading everything, the time of a search without its embedding, and forbidden passages."""
    asked = built.questions[:questions]
    vectors = dict(zip(asked, client.embed(asked), strict=True))
    visible = set(_visible(reader))
    took, found, wrong = [], {}, 0
    original = client.embed
    # The topic is the question here, since no made document is named; what embedding takes is measured by `bench`.
    client.embed = lambda texts, **_: [vectors.get(text) or original([text])[0] for text in texts]
    try:
        for question in [*asked[:5], *asked]:
            began = time.perf_counter()
            passages = search(reader, question, k=_K).passages
            took.append((time.perf_counter() - began) * 1000)
            found[question] = passages
            wrong += sum(passage.version_id not in visible for passage in passages)
        recalls = []
        with override_settings(EXACT_SEARCH_LIMIT=10**12):
            for question in asked[:compared]:
                exact = search(reader, question, k=_K).passages
                recalls.append(_share(found[question], exact))
    finally:
        client.embed = original
    took = took[5:]
    return {
        "recall_at_10": round(sum(recalls) / len(recalls), 4),
        "p50_ms": round(percentile(took, 50), 1),
        "p95_ms": round(percentile(took, 95), 1),
        "visible_chunks": _visible_chunks(visible),
    }, wrong


def _share(found: list[Passage], exact: list[Passage]) -> float:
    wanted = {passage.chunk_id for passage in exact}
    return len(wanted & {passage.chunk_id for passage in found}) / max(1, len(wanted))


def _visible(reader: User) -> list[int]:
    """What the reader was given, told without the access rule: the versions of their collections."""
    collections = reader.grants.values_list("collection_id", flat=True)
    return list(DocumentVersion.objects.filter(document__collection__in=collections).values_list("pk", flat=True))


def _visible_chunks(versions: set[int]) -> int:
    return len(versions) * CHUNKS_PER_DOCUMENT


def _source() -> tuple[list[int], list[str], NDArray[np.float32]]:
    """The sample documents' chunks: ids, texts, vectors."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.id, c.text, e.embedding::text FROM documents_chunk AS c"
            " JOIN documents_chunkembedding AS e ON e.chunk_id = c.id ORDER BY c.id"
        )
        rows = cursor.fetchall()
    vectors = np.array([[float(value) for value in row[2].strip("[]").split(",")] for row in rows], dtype=np.float32)
    return [row[0] for row in rows], [row[1] for row in rows], vectors


def _questions(texts: list[str]) -> list[str]:
    """Middles of the sample chunks, as questions: they share words and meaning with many chunks."""
    asked = []
    for text in texts[:: max(1, len(texts) // NUM_ASKED)]:
        words = text.split()
        middle = words[len(words) // 3 : len(words) // 3 + 9]
        asked.append("What is said about " + " ".join(middle) + "?")
    return asked


NUM_ASKED = 60


def _drop_indexes(owner: psycopg.Connection[Any]) -> list[str]:
    """Takes the large tables' indexes and constraints away, their primary keys aside; returns what makes them again.

    Checked and entered row by row they would take most of an hour of a million chunks.
    """
    constraints = owner.execute(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype::text FROM pg_constraint"
        " WHERE conrelid IN ('documents_posting'::regclass, 'documents_chunkembedding'::regclass,"
        " 'documents_chunk'::regclass) AND contype IN ('p', 'u', 'f')"
        " AND NOT (contype = 'p' AND conrelid <> 'documents_posting'::regclass) ORDER BY contype DESC"
    ).fetchall()
    for table, name, _, _ in constraints:
        owner.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}" CASCADE')
    indexes = owner.execute(
        "SELECT i.indexname, i.indexdef FROM pg_indexes AS i LEFT JOIN pg_constraint AS c ON c.conname = i.indexname"
        " WHERE i.tablename IN ('documents_posting', 'documents_chunkembedding') AND c.conname IS NULL"
    ).fetchall()
    for name, _ in indexes:
        owner.execute(f'DROP INDEX "{name}"')
    again = [f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {text}' for table, name, text, kind in constraints]
    foreign = [kind == "f" for *_, kind in constraints]
    keys = [statement for statement, is_foreign in zip(again, foreign, strict=True) if not is_foreign]
    references = [statement for statement, is_foreign in zip(again, foreign, strict=True) if is_foreign]
    return [*(definition for _, definition in indexes), *keys, *references]


def _documents(owner: psycopg.Connection[Any], collections: dict[str, Collection], chunks: int) -> int:
    """Documents and their versions, each collection its share; returns the id before the first version."""
    first = DocumentVersion.objects.aggregate(last=Max("pk"))["last"] or 0
    total = max(1, chunks // CHUNKS_PER_DOCUMENT)
    for share, part in _PARTS:
        documents = Document.objects.bulk_create(
            [
                Document(collection=collections[share], filename=f"made-{n}.txt", title=f"Made record {n}")
                for n in range(1, max(1, round(total * part)) + 1)
            ],
            batch_size=2_000,
        )
        DocumentVersion.objects.bulk_create(
            [
                DocumentVersion(
                    document=document,
                    n=1,
                    media_type="text/plain",
                    size_bytes=1,
                    title=document.title,
                    label=document.title,
                    num_pages=1,
                    paginated=False,
                    status=VersionStatus.READY,
                    attempts=1,
                    chunks_done=CHUNKS_PER_DOCUMENT,
                    num_chunks=CHUNKS_PER_DOCUMENT,
                )
                for document in documents
            ],
            batch_size=2_000,
        )
    owner.execute(
        "UPDATE documents_document AS d SET current_version_id = v.id FROM documents_documentversion AS v"
        " WHERE v.document_id = d.id AND v.id > %s",
        [first],
    )
    owner.execute(
        "INSERT INTO documents_nameterm (version_id, unit, term, unit_size, label_size)"
        " SELECT v.id, 0, lexeme.lexeme, 3, 3 FROM documents_documentversion AS v,"
        " unnest(to_tsvector('english', v.title)) AS lexeme WHERE v.id > %s",
        [first],
    )
    return int(first)


def _chunks(owner: psycopg.Connection[Any], first: int, chunks: int, source_ids: list[int]) -> None:
    """Chunks with their postings, each after a source taken in turn."""
    owner.execute("CREATE UNLOGGED TABLE made_chunk (id bigint, version_id bigint, source_id bigint)")
    owner.execute(
        """
        WITH made AS (
            SELECT v.id AS version_id, place - 1 AS ordinal,
                   (%s::bigint[])[1 + (v.id * 7919 + place * 104729) %% %s] AS source_id
            FROM documents_documentversion AS v, generate_series(1, %s) AS place WHERE v.id > %s
        ), written AS (
            INSERT INTO documents_chunk (version_id, ordinal, page, start, "end", heading, text, indexed_text)
            SELECT m.version_id, m.ordinal, 1, m.ordinal * 1000, m.ordinal * 1000 + 900, c.heading,
                   'Record ' || (m.version_id * 100 + m.ordinal) || '. ' || left(c.text, 300), ''
            FROM made AS m JOIN documents_chunk AS c ON c.id = m.source_id
            RETURNING id, version_id, ordinal
        )
        INSERT INTO made_chunk SELECT w.id, w.version_id, m.source_id
        FROM written AS w JOIN made AS m USING (version_id, ordinal)
        """,
        [source_ids, len(source_ids), CHUNKS_PER_DOCUMENT, first],
    )
    say("chunks are written")
    owner.execute(
        "INSERT INTO documents_posting (term, chunk_id, version_id, tf, length)"
        " SELECT p.term, m.id, m.version_id, p.tf, p.length"
        " FROM made_chunk AS m JOIN documents_posting AS p ON p.chunk_id = m.source_id WHERE random() < 0.6"
    )
    say("postings are written")


def _embeddings(owner: psycopg.Connection[Any], source_ids: list[int], vectors: NDArray[np.float32]) -> None:
    """Vectors with noise, sent in PostgreSQL's binary copy format."""
    model = EmbeddingModel.objects.get(active=True)
    noise = np.random.default_rng(7)
    dimensions = vectors.shape[1]
    rows = owner.execute("SELECT id, version_id, source_id FROM made_chunk ORDER BY id").fetchall()
    row_type = np.dtype(
        [("fields", ">i2")]
        + [("chunk_size", ">i4"), ("chunk", ">i8"), ("version_size", ">i4"), ("version", ">i8")]
        + [("model_size", ">i4"), ("model", ">i8"), ("size", ">i4"), ("dimensions", ">i2"), ("unused", ">i2")]
        + [("vector", ">f2", (dimensions,))]
    )
    copy = "COPY documents_chunkembedding (chunk_id, version_id, model_id, embedding) FROM STDIN (FORMAT BINARY)"
    with owner.cursor() as cursor, cursor.copy(copy) as out:
        out.write(b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8)
        for at in range(0, len(rows), _BATCH):
            part = np.array(rows[at : at + _BATCH], dtype=np.int64)
            made = vectors[np.searchsorted(source_ids, part[:, 2])] + noise.normal(
                0, _NOISE, (len(part), dimensions)
            ).astype(np.float32)
            made /= np.linalg.norm(made, axis=1, keepdims=True)
            block = np.zeros(len(part), dtype=row_type)
            block["fields"] = 4
            block["chunk_size"] = block["version_size"] = block["model_size"] = 8
            block["chunk"], block["version"], block["model"] = part[:, 0], part[:, 1], model.pk
            block["size"], block["dimensions"] = 4 + 2 * dimensions, dimensions
            block["vector"] = made
            out.write(block.tobytes())
        out.write(b"\xff\xff")
