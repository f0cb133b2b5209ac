"""What a search has in view: the access rule followed once, and the figures of what it lets through.

The rule of someone with many grants takes longer than ranking a small collection does. So it is followed once, when a
search begins, and the statements after it are bound to the versions it let through: inside them, not after them. What
changes between two of them is seen to by row-level security, which follows the rule anew in each transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import F, QuerySet

from appliance.documents.models import UNFINISHED, Document

# By language in two steps: DISTINCT inside the aggregate would sort every version.
_FIGURES = """
WITH readable AS MATERIALIZED ({readable}), searched AS (
    SELECT v.indexed_language AS language, count(*) AS versions, sum(v.num_chunks) AS chunks, sum(v.num_terms) AS terms
    FROM readable JOIN documents_documentversion AS v ON v.id = readable.version_id
    GROUP BY v.indexed_language
)
SELECT (SELECT count(*) FROM readable),
       (SELECT count(*) FROM readable WHERE document_id IN (
           SELECT document_id FROM documents_documentversion WHERE status = ANY (%(unfinished)s)
       )),
       coalesce(sum(versions), 0)::int, coalesce(sum(chunks), 0)::bigint, coalesce(sum(terms), 0)::bigint,
       coalesce(array_agg(language::text ORDER BY language) FILTER (WHERE language <> ''), '{{}}'),
       (SELECT coalesce(array_agg(version_id), '{{}}') FROM readable WHERE version_id IS NOT NULL)
FROM searched
"""

_IN_VIEW = "SELECT unnest(%(in_view)s::bigint[]) AS version_id"


@dataclass(frozen=True, slots=True)
class View:
    """The visible documents: `sql` gives their current versions' ids, with its named `parameters`.

    `total` counts all of them, `not_ready` those of which a version is on its way, `searched` those with a version in
    use; `chunks` and `terms` are of the latter, `languages` their text search configurations.
    """

    sql: str
    parameters: dict[str, Any]
    total: int
    not_ready: int
    searched: int
    chunks: int
    terms: int
    languages: Sequence[str]


def look_at(documents: QuerySet[Document]) -> View:
    """The view on `documents`, which the access rule has already cut down."""
    rows = documents.order_by().values(document_id=F("pk"), version_id=F("current_version"))
    try:
        readable, parameters = _named(*rows.query.sql_with_params())
    except EmptyResultSet:  # Django knows without asking: an account that is switched off sees nothing
        return View(_IN_VIEW, {"in_view": []}, total=0, not_ready=0, searched=0, chunks=0, terms=0, languages=())
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES.format(readable=readable), parameters | {"unfinished": list(UNFINISHED)})
        *figures, versions = cursor.fetchone()
    return View(_IN_VIEW, {"in_view": versions}, *figures)


def _named(sql: str, parameters: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """Django's positional parameters as named ones, so that the statement can mix both sources."""
    pieces = sql.split("%s")
    if len(pieces) != len(parameters) + 1:
        raise ValueError("a literal percent sign in the access rule")
    named = "".join(f"{piece}%(v{number})s" for number, piece in enumerate(pieces[:-1])) + pieces[-1]
    return named, {f"v{number}": value for number, value in enumerate(parameters)}
