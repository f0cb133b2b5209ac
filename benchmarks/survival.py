"""What must be true of the documents' rows and files after anything was killed: nothing lost, doubled or half done.

SQL on the owner's connection, so that the checks share no code with what they check.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

#: name -> a query whose rows are faults. Each names the version.
FAULTS = {
    "unfinished": """
        SELECT id, status, error_code FROM documents_documentversion
        WHERE status NOT IN ('ready', 'failed', 'quarantined')""",
    "ended without a cause": """
        SELECT id, status FROM documents_documentversion
        WHERE status IN ('failed', 'quarantined') AND (error_code = '' OR error_reason = '')""",
    "still leased": """
        SELECT id FROM documents_documentversion WHERE lease_token IS NOT NULL AND status <> 'queued'
          AND status IN ('ready', 'failed', 'quarantined')""",
    "ready without text": """
        SELECT id FROM documents_documentversion AS v WHERE status = 'ready'
          AND NOT EXISTS (SELECT FROM documents_versiontext AS t WHERE t.version_id = v.id)""",
    "chunks missing, doubled or out of order": """
        SELECT v.id, v.num_chunks, count(c.id), min(c.ordinal), max(c.ordinal)
        FROM documents_documentversion AS v LEFT JOIN documents_chunk AS c ON c.version_id = v.id
        WHERE v.status = 'ready' GROUP BY v.id
        HAVING count(c.id) <> v.num_chunks OR v.num_chunks <> v.chunks_done OR count(DISTINCT c.ordinal) <> count(c.id)
            OR min(c.ordinal) <> 0 OR max(c.ordinal) <> v.num_chunks - 1""",
    "chunks that are no slice of the text": """
        SELECT c.version_id, c.ordinal FROM documents_chunk AS c JOIN documents_versiontext AS t USING (version_id)
        WHERE substr(t.text, c.start + 1, c."end" - c.start) <> c.text""",
    "parts of a version that was not read": """
        SELECT v.id, count(*) FROM documents_documentversion AS v JOIN documents_chunk AS c ON c.version_id = v.id
        WHERE v.status IN ('failed', 'quarantined') GROUP BY v.id""",
    "not one vector a chunk": """
        SELECT c.version_id, c.id, count(e.id)
        FROM documents_chunk AS c JOIN documents_documentversion AS v ON v.id = c.version_id AND v.status = 'ready'
        LEFT JOIN documents_chunkembedding AS e ON e.chunk_id = c.id AND e.version_id = c.version_id
             AND e.model_id = (SELECT id FROM documents_embeddingmodel WHERE active)
        GROUP BY c.version_id, c.id HAVING count(e.id) <> 1""",
    "postings that a fresh index would not have, or would": """
        WITH fresh AS (
            SELECT lexeme.lexeme AS term, c.id AS chunk_id, c.version_id,
                   least(cardinality(lexeme.positions), 32767) AS tf
            FROM documents_chunk AS c
            JOIN documents_documentversion AS v ON v.id = c.version_id AND v.status = 'ready'
            JOIN documents_document AS d ON d.id = v.document_id
            JOIN documents_collection AS n ON n.id = d.collection_id,
            unnest(to_tsvector(n.language::regconfig, c.indexed_text)) AS lexeme
        ), stored AS (SELECT term, chunk_id, version_id, tf FROM documents_posting)
        (TABLE fresh EXCEPT TABLE stored) UNION ALL (TABLE stored EXCEPT TABLE fresh) LIMIT 5""",
    "terms counted wrong": """
        SELECT v.id, v.num_terms, sum(p.tf) FROM documents_documentversion AS v
        LEFT JOIN documents_posting AS p ON p.version_id = v.id
        WHERE v.status = 'ready' GROUP BY v.id HAVING coalesce(sum(p.tf), 0) <> v.num_terms""",
    "a current version that is not ready": """
        SELECT d.id FROM documents_document AS d JOIN documents_documentversion AS v ON v.id = d.current_version_id
        WHERE v.status <> 'ready'""",
    "a document that could be searched and is not": """
        SELECT d.id FROM documents_document AS d
        JOIN documents_documentversion AS v ON v.document_id = d.id AND v.status = 'ready'
        WHERE d.current_version_id IS NULL""",
    "a document twice under one name": """
        SELECT collection_id, filename FROM documents_document GROUP BY 1, 2 HAVING count(*) > 1""",
}
_BLOBS = "SELECT blob_key FROM documents_documentversion"


def faults(owner_url: str, data_dir: Path) -> dict[str, list[Any]]:
    """Every broken rule with up to five examples; empty when all holds. Also looks for lost and plain files."""
    found: dict[str, list[Any]] = {}
    with psycopg.connect(owner_url) as connection:
        for name, query in FAULTS.items():
            if rows := connection.execute(query).fetchmany(5):
                found[name] = rows
        blobs = [str(key) for (key,) in connection.execute(_BLOBS)]
    lost = [key for key in blobs if not (data_dir / "blobs" / key[:2] / key).is_file()]
    plain = [str(path) for path in (data_dir / "uploads").rglob("*") if path.is_file()]
    for name, files in (("files lost", lost), ("files left decrypted", plain)):
        if files:
            found[name] = files[:5]
    return found


def outcomes(owner_url: str, since: int) -> dict[str, int]:
    """How many versions after id `since` ended in which way: "ready", or the status and its code."""
    query = """SELECT status || CASE WHEN error_code = '' THEN '' ELSE ' ' || error_code END, count(*)
               FROM documents_documentversion WHERE id > %s GROUP BY 1 ORDER BY 1"""
    with psycopg.connect(owner_url) as connection:
        return {str(state): int(count) for state, count in connection.execute(query, [since])}
