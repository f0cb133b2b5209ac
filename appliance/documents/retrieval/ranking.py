"""The statement that ranks: dense and BM25 over the visible versions, their scores added, with what is preferred.

Both rankings read only versions in the `visible` set. BM25's statistics (number of chunks, mean length, document
frequency) are those of the visible set too: a score says nothing about documents the reader may not see.

    BM25: Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75, with Lucene's non-negative idf.
    Score: cosine over the best cosine, and BM25 over the best BM25, half each (docs/decisions says why not ranks),
           plus fixed amounts for a named document and for what the question asks for (a date, an amount, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from appliance.documents.retrieval.naming import Reading
from appliance.documents.retrieval.question import AMOUNT_PATTERN, DATE_PATTERN, DURATION_PATTERN, asks
from appliance.lib.errors import Unavailable

DEPTH = 100  # how many candidates each ranking brings
_FEW_DOCUMENTS = 5
_SAMPLED_VERSIONS = 60
_POSTING_BUDGET = 15_000
_EF_SEARCH = 200

DENSE_WEIGHT = 0.5
LEXICAL_WEIGHT = 0.5
NAMED_WEIGHT = 0.8
DATE_WEIGHT = 0.15
OPENING_WEIGHT = 0.25
AMOUNT_WEIGHT = 0.05
DURATION_WEIGHT = 0.05
#: Below this best cosine nothing is near: dividing by it would make noise look like a find.
_LEAST_BEST_COSINE = 0.2


@dataclass(frozen=True, slots=True)
class Scores:
    """A score, part by part. `cosine` and `bm25` are the raw figures; the parts after them add up to `total`."""

    total: float
    cosine: float
    bm25: float
    dense: float
    lexical: float
    named: float
    date: float
    opening: float
    amount: float
    duration: float
    reranked: float | None = None  # by the cross-encoder, in the place of `dense` and `lexical`

    def as_dict(self) -> dict[str, float]:
        """The parts by name, rounded for reading."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: round(value, 4) for name, value in parts.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Visible:
    """What may be ranked: the statement of version ids with its named parameters, and the figures of that set."""

    sql: str
    parameters: dict[str, Any]
    documents: int
    chunks: int
    terms: int
    configurations: Sequence[str]


_SETS = """
WITH visible AS MATERIALIZED ({visible}), named AS MATERIALIZED (
    SELECT n.version_id, n.strength * %(named_weight)s AS bonus
    FROM unnest(%(named)s::bigint[], %(strengths)s::float8[]) AS n (version_id, strength)
    WHERE n.version_id IN (SELECT version_id FROM visible)
)"""

_DENSE_EXACT = """
dense AS MATERIALIZED (
    SELECT chunk_id, row_number() OVER (ORDER BY cosine DESC, chunk_id) AS rank
    FROM (
        SELECT e.chunk_id, -(e.embedding <#> %(vector)s::halfvec) AS cosine
        FROM documents_chunkembedding AS e LEFT JOIN named USING (version_id)
        WHERE e.version_id = ANY (ARRAY(SELECT version_id FROM visible)) AND e.model_id = %(model)s
        ORDER BY (e.embedding <#> %(vector)s::halfvec) - coalesce(named.bonus, 0), e.chunk_id LIMIT %(depth)s
    ) AS nearest
)"""

# The cast and the dimension repeat the index's own expression: without them it would not be used. IS TRUE keeps the
# access rule a look-up beside the index scan: as a join it could take the place of the index.
_DENSE_HNSW = """
nearest AS MATERIALIZED (
    SELECT e.chunk_id, -(e.embedding::halfvec({dimensions}) <#> %(vector)s::halfvec({dimensions})) AS cosine
    FROM documents_chunkembedding AS e
    WHERE vector_dims(e.embedding) = {dimensions} AND e.model_id = %(model)s
      AND (e.version_id IN (SELECT version_id FROM visible)) IS TRUE
    ORDER BY e.embedding::halfvec({dimensions}) <#> %(vector)s::halfvec({dimensions}) LIMIT %(depth)s
), nearest_named AS MATERIALIZED (
    SELECT e.chunk_id, -(e.embedding <#> %(vector)s::halfvec) AS cosine
    FROM named JOIN documents_chunkembedding AS e USING (version_id)
    WHERE e.model_id = %(model)s
    ORDER BY (e.embedding <#> %(vector)s::halfvec) - named.bonus, e.chunk_id LIMIT %(depth)s
), dense AS MATERIALIZED (
    SELECT chunk_id, row_number() OVER (ORDER BY cosine DESC, chunk_id) AS rank
    FROM (SELECT * FROM nearest UNION SELECT * FROM nearest_named) AS both_ways
)"""

_TERMS = """
query AS MATERIALIZED (
    SELECT DISTINCT lexeme AS term
    FROM unnest(%(configurations)s::text[]) AS configuration, unnest(to_tsvector(configuration::regconfig, %(topic)s))
    WHERE lexeme <> ALL (%(left_out)s::text[])
)"""

_HITS_EXACT = """
hits AS MATERIALIZED (
    SELECT p.term, p.chunk_id, p.version_id, p.tf, p.length
    FROM documents_posting AS p
    WHERE p.term = ANY (ARRAY(SELECT term FROM query)) AND p.version_id = ANY (ARRAY(SELECT version_id FROM visible))
), frequency AS MATERIALIZED (
    SELECT term, ln(1 + (%(chunks)s - count(*) + 0.5)::float8 / (count(*) + 0.5)::float8) AS idf
    FROM hits GROUP BY term
), common AS (
    SELECT NULL::text AS term WHERE false
)"""

# Among very many chunks a common word has more postings than can be read while someone waits. How common each word is
# is estimated from a sample of the visible versions (all of them when they are few); the rarest words, as far as the
# budget of postings goes, bring candidates, and the others count only towards candidates that something else brought.
_HITS_SAMPLED = """
sample AS MATERIALIZED (
    SELECT v.id, v.num_chunks FROM (
        SELECT version_id FROM visible ORDER BY hashint8(version_id), version_id LIMIT %(sampled_versions)s
    ) AS chosen JOIN documents_documentversion AS v ON v.id = chosen.version_id
), occurrence AS MATERIALIZED (
    SELECT p.term, count(*) * %(chunks)s::float8 / greatest((SELECT sum(num_chunks) FROM sample), 1) AS df
    FROM documents_posting AS p
    WHERE p.term = ANY (ARRAY(SELECT term FROM query)) AND p.version_id = ANY (ARRAY(SELECT id FROM sample))
    GROUP BY p.term
), frequency AS MATERIALIZED (
    SELECT term, ln(1 + (%(chunks)s - df + 0.5)::float8 / (df + 0.5)::float8) AS idf,
           sum(df) OVER (ORDER BY df, term) > %(posting_budget)s AS is_common
    FROM (
        SELECT term, least(coalesce(df, 0), %(chunks)s)::float8 AS df FROM query LEFT JOIN occurrence USING (term)
    ) AS counted
), common AS (
    SELECT term FROM frequency WHERE is_common
), hits AS MATERIALIZED (
    SELECT p.term, p.chunk_id, p.version_id, p.tf, p.length
    FROM documents_posting AS p
    WHERE p.term = ANY (ARRAY(SELECT term FROM frequency WHERE NOT is_common))
      AND p.version_id = ANY (ARRAY(SELECT version_id FROM visible))
    LIMIT %(posting_limit)s
)"""

_TERM_SCORE = """f.idf * h.tf * 2.2::float8
               / (h.tf + 1.2::float8 * (0.25::float8 + 0.75::float8 * h.length / %(mean_length)s::float8))"""

_BM25 = f"""
scored AS MATERIALIZED (
    SELECT h.chunk_id, min(h.version_id) AS version_id,
           sum({_TERM_SCORE}) AS bm25
    FROM hits AS h JOIN frequency AS f USING (term)
    GROUP BY h.chunk_id
), best_bm25 AS (
    SELECT greatest(max(bm25), 1e-9) AS best FROM scored
), lexical AS MATERIALIZED (
    SELECT chunk_id, bm25, row_number() OVER (ORDER BY bm25 DESC, chunk_id) AS rank
    FROM (
        SELECT s.chunk_id, s.bm25 FROM scored AS s LEFT JOIN named USING (version_id)
        ORDER BY s.bm25 / (SELECT best FROM best_bm25) + coalesce(named.bonus, 0) DESC, s.chunk_id LIMIT %(depth)s
    ) AS best
)"""

_CANDIDATES = """
candidates AS MATERIALIZED (
    SELECT chunk_id FROM dense UNION SELECT chunk_id FROM lexical UNION SELECT id FROM documents_chunk
    WHERE %(asks_opening)s AND ordinal = 0
      AND version_id IN (SELECT version_id FROM named UNION SELECT version_id FROM visible WHERE %(few_documents)s)
)"""

# Added up by group rather than joined: the planner cannot know how many rows `scored` has, and a nested loop over it
# took most of the time. IS TRUE keeps the test a hash look-up for the same reason. OFFSET 0 makes the postings of
# common words a look-up for each candidate: joined, all of a common word's postings were read.
_FUSED = f"""
figures AS MATERIALIZED (
    SELECT chunk_id, max(version_id) AS version_id, max(cosine) AS cosine, coalesce(sum(bm25), 0) AS bm25
    FROM (
        SELECT e.chunk_id, e.version_id, -(e.embedding <#> %(vector)s::halfvec) AS cosine, NULL::float8 AS bm25
        FROM candidates JOIN documents_chunkembedding AS e USING (chunk_id) WHERE e.model_id = %(model)s
        UNION ALL
        SELECT chunk_id, version_id, NULL, bm25 FROM scored
        WHERE (chunk_id IN (SELECT chunk_id FROM candidates)) IS TRUE
        UNION ALL
        SELECT h.chunk_id, h.version_id, NULL, {_TERM_SCORE}
        FROM candidates CROSS JOIN common AS c JOIN frequency AS f USING (term) CROSS JOIN LATERAL (
            SELECT p.chunk_id, p.version_id, p.tf, p.length FROM documents_posting AS p
            WHERE p.term = c.term AND p.chunk_id = candidates.chunk_id OFFSET 0
        ) AS h
    ) AS figure
    GROUP BY chunk_id HAVING count(cosine) > 0
), best AS (
    SELECT greatest(max(cosine), %(least_best_cosine)s) AS cosine, greatest(max(bm25), 1e-9) AS bm25 FROM figures
), parts AS (
    SELECT f.chunk_id, f.cosine, f.bm25,
           %(dense_weight)s * f.cosine / best.cosine AS dense,
           %(lexical_weight)s * f.bm25 / best.bm25 AS lexical,
           coalesce(named.bonus, 0) AS named,
           CASE WHEN %(asks_date)s AND c.text ~* %(date_pattern)s THEN %(date_weight)s ELSE 0 END AS date,
           CASE WHEN %(asks_opening)s AND c.ordinal = 0 THEN %(opening_weight)s ELSE 0 END AS opening,
           CASE WHEN %(asks_amount)s AND c.text ~* %(amount_pattern)s THEN %(amount_weight)s ELSE 0 END AS amount,
           CASE WHEN %(asks_duration)s AND c.text ~* %(duration_pattern)s THEN %(duration_weight)s ELSE 0 END
               AS duration
    FROM figures AS f CROSS JOIN best JOIN documents_chunk AS c ON c.id = f.chunk_id
    LEFT JOIN named ON named.version_id = f.version_id
), ranked AS (
    -- Sums of floats differ in their last digits with the order of adding up: those must not decide.
    SELECT *, round((dense + lexical + named + date + opening + amount + duration)::numeric, 9) AS total FROM parts
    ORDER BY total DESC, chunk_id LIMIT %(limit)s
)
SELECT c.id, d.id, v.id, v.n, d.title, v.label, c.heading, c.page, v.paginated, c.start, c."end", c.text,
       r.total::float8, dense.rank, lexical.rank, r.cosine::float8, r.bm25::float8, r.dense::float8, r.lexical::float8,
       r.named::float8, r.date::float8, r.opening::float8, r.amount::float8, r.duration::float8,
       c.ordinal, (SELECT count(*) FROM dense)
FROM ranked AS r
JOIN documents_chunk AS c ON c.id = r.chunk_id
JOIN documents_documentversion AS v ON v.id = c.version_id
JOIN documents_document AS d ON d.id = v.document_id
LEFT JOIN dense ON dense.chunk_id = r.chunk_id
LEFT JOIN lexical ON lexical.chunk_id = r.chunk_id
ORDER BY r.total DESC, c.id"""


def rank(
    visible: Visible, reading: Reading, vector: Sequence[float], *, model_id: int, limit: int
) -> list[tuple[Any, ...]]:
    """The best `limit` rows of the visible versions, best first: the columns of `_FUSED` but the last."""
    parameters = _parameters(visible, reading, vector, model_id=model_id, limit=limit)
    if visible.chunks > settings.EXACT_SEARCH_LIMIT:
        rows = _indexed(_statement(visible, dimensions=len(vector)), parameters)
        # The index gives up after so many tuples: what rights that leave little to see then miss, reading all finds.
        if rows and rows[0][-1] >= min(limit, visible.chunks):
            return [row[:-1] for row in rows]
    with connection.cursor() as cursor:
        cursor.execute(_statement(visible), parameters)
        return [row[:-1] for row in cursor.fetchall()]


def _statement(visible: Visible, *, dimensions: int = 0) -> str:
    """The statement that reads everything or, with `dimensions`, goes through the index of that many."""
    dense = _DENSE_HNSW.format(dimensions=dimensions) if dimensions else _DENSE_EXACT
    hits = _HITS_SAMPLED if dimensions else _HITS_EXACT
    parts = (_SETS.format(visible=visible.sql), dense, _TERMS, hits, _BM25, _CANDIDATES, _FUSED)
    return ",\n".join(part.strip() for part in parts)


def _indexed(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        cursor.execute(f"SET LOCAL hnsw.ef_search = {_EF_SEARCH:d}")
        cursor.execute("SHOW hnsw.iterative_scan")
        if cursor.fetchone() != ("strict_order",):
            # Without it a filtered scan ends early and passages are missing without a word.
            raise Unavailable("The database cannot search large collections completely, so nothing was searched.")
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _parameters(
    visible: Visible, reading: Reading, vector: Sequence[float], *, model_id: int, limit: int
) -> dict[str, Any]:
    wants = asks(reading.topic)
    return visible.parameters | {
        "vector": "[" + ",".join(f"{component:.7g}" for component in vector) + "]",
        "model": model_id,
        "topic": reading.topic,
        "left_out": list(reading.left_out),
        "configurations": list(visible.configurations),
        "named": list(reading.named),
        "strengths": list(reading.named.values()),
        "chunks": visible.chunks,
        "mean_length": max(1.0, visible.terms / max(1, visible.chunks)),
        "depth": max(DEPTH, limit),
        "sampled_versions": _SAMPLED_VERSIONS,
        "posting_budget": _POSTING_BUDGET,
        "posting_limit": 4 * _POSTING_BUDGET,
        "limit": limit,
        "few_documents": visible.documents <= _FEW_DOCUMENTS,
        "named_weight": NAMED_WEIGHT,
        "dense_weight": DENSE_WEIGHT,
        "lexical_weight": LEXICAL_WEIGHT,
        "least_best_cosine": _LEAST_BEST_COSINE,
        "asks_date": wants.date,
        "asks_opening": wants.opening,
        "asks_amount": wants.amount,
        "asks_duration": wants.duration,
        "date_pattern": DATE_PATTERN,
        "amount_pattern": AMOUNT_PATTERN,
        "duration_pattern": DURATION_PATTERN,
        "date_weight": DATE_WEIGHT,
        "opening_weight": OPENING_WEIGHT,
        "amount_weight": AMOUNT_WEIGHT,
        "duration_weight": DURATION_WEIGHT,
    }
