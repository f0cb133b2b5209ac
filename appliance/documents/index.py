"""The inverted indexes that search reads: the terms of each chunk for BM25, and the terms of each document's names.

PostgreSQL's own text search parser finds the terms, in the language of the document's collection.
"""

from __future__ import annotations

from typing import Any

from appliance.documents.retrieval.question import identifiers

#: PostgreSQL text search configuration of a collection that names none: stems and drops stop words.
TEXT_CONFIGURATION = "english"

#: Unit of the name terms that are whole identifiers (a matter number, a date) and not words.
IDENTIFIER_UNIT = -1
_OPENING_CHARS = 1_500
_MAX_IDENTIFIERS = 20

_WRITE = """
WITH terms AS (
    SELECT chunk.id AS chunk_id, lexeme.lexeme AS term, cardinality(lexeme.positions) AS tf
    FROM documents_chunk AS chunk,
         unnest(to_tsvector(%(configuration)s::regconfig, chunk.indexed_text)) AS lexeme
    WHERE chunk.version_id = %(version)s
), lengths AS (
    SELECT chunk_id, sum(tf) AS length FROM terms GROUP BY chunk_id
), written AS (
    INSERT INTO documents_posting (term, chunk_id, version_id, tf, length)
    SELECT term, chunk_id, %(version)s, least(tf, 32767), length
    FROM terms JOIN lengths USING (chunk_id)
    RETURNING tf
)
SELECT coalesce(sum(tf), 0) FROM written
"""

_NAMES = """
SELECT v.title, ARRAY(SELECT jsonb_array_elements_text(v.parties)), v.label, d.title, d.filename,
       left(t.text, %s), c.language
FROM documents_documentversion AS v
JOIN documents_document AS d ON d.id = v.document_id
JOIN documents_collection AS c ON c.id = d.collection_id
LEFT JOIN documents_versiontext AS t ON t.version_id = v.id
WHERE v.id = %s
"""

_WRITE_NAMES = """
WITH terms AS (
    SELECT DISTINCT unit.n - 1 AS unit, lexeme.lexeme AS term
    FROM unnest(%(units)s::text[]) WITH ORDINALITY AS unit (name, n),
         unnest(to_tsvector(%(configuration)s::regconfig, unit.name)) AS lexeme
), written AS (
    INSERT INTO documents_nameterm (version_id, unit, term, unit_size, label_size)
    SELECT %(version)s, unit, left(term, 200), count(*) OVER (PARTITION BY unit),
           (SELECT count(DISTINCT term) FROM terms)
    FROM terms
)
INSERT INTO documents_nameterm (version_id, unit, term, unit_size, label_size)
SELECT %(version)s, %(identifier_unit)s, identifier, 1, 1 FROM unnest(%(identifiers)s::text[]) AS identifier
"""


def write_postings(connection: Any, version_id: int) -> int:
    """Indexes the chunks and names of a version; returns the chunks' number of terms with repetitions. Repeatable."""
    with connection.cursor() as cursor:
        cursor.execute(_NAMES, [_OPENING_CHARS, version_id])
        title, parties, label, document_title, filename, opening, language = cursor.fetchone()
        configuration = language or TEXT_CONFIGURATION
        cursor.execute("DELETE FROM documents_nameterm WHERE version_id = %s", [version_id])
        names = {
            "version": version_id,
            "configuration": configuration,
            "units": _units(title or document_title, parties, label),
            "identifier_unit": IDENTIFIER_UNIT,
            "identifiers": sorted(identifiers(f"{filename}\n{title}\n{opening or ''}"))[:_MAX_IDENTIFIERS],
        }
        cursor.execute(_WRITE_NAMES, names)
        cursor.execute("DELETE FROM documents_posting WHERE version_id = %s", [version_id])
        cursor.execute(_WRITE, {"configuration": configuration, "version": version_id})
        num_terms = int(cursor.fetchone()[0])
        cursor.execute(
            "UPDATE documents_documentversion SET indexed_language = %s WHERE id = %s", [configuration, version_id]
        )
        return num_terms


def _units(title: str, parties: list[str], label: str) -> list[str]:
    """The names a document goes by: its title, each party, and what else its label tells."""
    rest = label[len(title) :].strip(" ()") if label.startswith(title) else label
    known = [title, *parties]
    return [*known, *(name for name in rest.split("; ") if name and name not in known)]
