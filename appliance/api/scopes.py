"""What a token must be made for, operation by operation. One page, so that it can be reviewed as one.

A token needs every scope named beside the operation. An operation that is not in the table needs them all; a test
holds the table against the addresses there are. A signed-in browser needs no scope: it is its person.
"""

from __future__ import annotations

from django.http import HttpRequest

from appliance.accounts.models import ApiToken, Scope
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Event, record
from appliance.lib.errors import ScopeMissing

_CHAT, _SEARCH, _UPLOAD, _AUDIT = ({scope} for scope in (Scope.CHAT, Scope.SEARCH, Scope.UPLOAD, Scope.AUDIT))
#: Deciding who may see what, and how things are found: only a token made for everything, everywhere, stands for that.
_EVERYTHING = set(Scope)

NEEDED: dict[str, set[Scope]] = {
    "GET api/v1/collections": _SEARCH,
    "POST api/v1/collections": _EVERYTHING,
    "GET api/v1/collections/<collection_id>/grants": _EVERYTHING,
    "POST api/v1/collections/<collection_id>/grants": _EVERYTHING,
    "DELETE api/v1/collections/<collection_id>/grants/<grant_id>": _EVERYTHING,
    "GET api/v1/documents/<document_id>/grants": _EVERYTHING,
    "POST api/v1/documents/<document_id>/grants": _EVERYTHING,
    "DELETE api/v1/documents/<document_id>/grants/<grant_id>": _EVERYTHING,
    "POST api/v1/collections/<collection_id>/retry": _UPLOAD,
    "GET api/v1/tokens": _EVERYTHING,
    "POST api/v1/tokens": _EVERYTHING,
    "DELETE api/v1/tokens/<token_id>": _EVERYTHING,
    "GET api/v1/collections/<collection_id>/retrieval": _SEARCH,
    "PATCH api/v1/collections/<collection_id>/retrieval": _EVERYTHING,
    "GET api/v1/documents": _SEARCH,
    "POST api/v1/documents": _UPLOAD,
    "GET api/v1/documents/<document_id>": _SEARCH,
    "DELETE api/v1/documents/<document_id>": _UPLOAD,
    "GET api/v1/documents/<document_id>/versions": _SEARCH,
    "POST api/v1/documents/<document_id>/versions": _UPLOAD,
    "POST api/v1/documents/<document_id>/versions/<n>/current": _UPLOAD,
    "POST api/v1/documents/<document_id>/versions/<n>/retry": _UPLOAD,
    "POST api/v1/documents/<document_id>/versions/<n>/password": _UPLOAD,
    "GET api/v1/documents/<document_id>/versions/<n>/log": _SEARCH,
    "GET api/v1/documents/<document_id>/versions/<n>/content": _SEARCH,
    "GET api/v1/documents/<document_id>/versions/<n>/text": _SEARCH,
    "GET api/v1/documents/<document_id>/versions/<n>/chunks/<ordinal>": _SEARCH,
    "GET api/v1/batches": _UPLOAD,
    "POST api/v1/batches": _UPLOAD,
    "GET api/v1/batches/<batch_id>": _UPLOAD,
    "GET api/v1/batches/<batch_id>/files": _UPLOAD,
    "POST api/v1/batches/<batch_id>/files": _UPLOAD,
    "POST api/v1/batches/<batch_id>/files/<file_id>": _UPLOAD,
    "POST api/v1/batches/<batch_id>/pause": _UPLOAD,
    "POST api/v1/batches/<batch_id>/resume": _UPLOAD,
    "POST api/v1/batches/<batch_id>/cancel": _UPLOAD,
    "POST api/v1/batches/<batch_id>/retry": _UPLOAD,
    "POST api/v1/search": _SEARCH,
    "POST api/v1/find": _SEARCH,
    "GET api/v1/audit/events": _AUDIT,
    "GET api/v1/audit/checkpoint": _AUDIT,
    "GET api/v1/audit/proof": _AUDIT,
    "GET api/v1/audit/consistency": _AUDIT,
    "GET v1/models": _CHAT,
    "POST v1/chat/completions": _CHAT,
    "POST v1/responses": _CHAT,
    "POST v1/embeddings": _CHAT,
}


def operation(request: HttpRequest) -> str:
    """What the table calls the operation of this request. Empty outside the addresses there are."""
    match = request.resolver_match
    return f"{request.method} {match.route}" if match is not None else ""


def check_scope(request: HttpRequest, token: ApiToken, *, actor: Actor) -> None:
    """Raises ScopeMissing, recorded, when the token was not made for what this request does."""
    asked = operation(request)
    if asked.startswith(("GET v1/", "PUT v1/", "PATCH v1/", "DELETE v1/")):
        asked = asked if asked in NEEDED else f"POST {asked.partition(' ')[2]}"  # the view refuses the method itself
    needed = NEEDED.get(asked, _EVERYTHING)
    missing = sorted(needed - set(token.scopes))
    narrowed = needed == _EVERYTHING and token.collections is not None
    if not missing and not narrowed:
        return
    detail = {"code": ScopeMissing.code, "missing": missing}
    record(Event(EventType.REFUSAL, "token.scope", Outcome.REFUSED, detail=detail), actor=actor)
    if missing:
        raise ScopeMissing(hint=f"It needs a token with the scope {' and '.join(missing)}.")
    raise ScopeMissing(hint="It needs a token that is not narrowed to some collections.")
