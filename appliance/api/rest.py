"""/api/v1: collections, grants and search; documents and uploads in rooms of their own. Views parse, call, render."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from appliance.accounts import throttle
from appliance.accounts.models import User
from appliance.accounts.sessions import actor_of, current_user
from appliance.api import schemas
from appliance.api.access import router as access
from appliance.api.audit import router as audit
from appliance.api.auth import TokenOrSession
from appliance.api.batches import router as batches
from appliance.api.documents import router as documents
from appliance.api.retrieval import router as retrieval
from appliance.api.tokens import router as tokens
from appliance.documents import actions, versions
from appliance.documents.access import access_collection, collections_for, documents_for
from appliance.documents.audited import do_search
from appliance.documents.models import Collection
from appliance.documents.uploads import too_large
from appliance.lib.errors import BadRequest
from appliance.lib.failures import respond


class RestAPI(NinjaAPI):
    """Describes what every operation can answer besides its own: an error, in the one shape that errors have."""

    def get_openapi_schema(self, **options: Any) -> Any:
        schema = super().get_openapi_schema(**options)
        schema["components"]["schemas"]["Error"] = schemas.ErrorOut.model_json_schema()
        refused = {"$ref": "#/components/schemas/Error"}
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"]["default"] = {
                    "description": "Refused or failed: `error.code` says why, `error.hint` what to do.",
                    "content": {"application/json": {"schema": refused}},
                }
        return schema


api = RestAPI(
    title="Reading Room",
    version="1",
    description="Documents, grants and search of the appliance. Errors are `{error: {code, message, hint}}`.",
    urls_namespace="rest",
    auth=TokenOrSession(),
    docs_url=None,
    openapi_url="/openapi.json",
)


api.add_router("", access)
api.add_router("/audit", audit)
api.add_router("", documents)
api.add_router("/batches", batches)
api.add_router("", retrieval)
api.add_router("/tokens", tokens)


@api.exception_handler(Exception)
def _failed(request: HttpRequest, failure: Exception) -> HttpResponse:
    if isinstance(failure, ValidationError):
        if request.META.get("too_large"):  # the upload handler let go of the file: that is why it is missing
            return respond(request, too_large(request.META["too_large"][0]))
        return respond(request, BadRequest(_first_problem(failure.errors), code="invalid_request"))
    if isinstance(failure, HttpError):
        return respond(request, BadRequest(str(failure), code="invalid_request"))
    return respond(request, failure)


api.exception_handler(ValidationError)(_failed)
api.exception_handler(HttpError)(_failed)


def _first_problem(errors: list[dict[str, Any]]) -> str:
    first = errors[0]
    place = ".".join(str(part) for part in first.get("loc", ())[1:] if part != "data")
    return f"{place or 'The request'}: {first.get('msg', 'is not valid')}."


@api.get("/collections", response=list[schemas.CollectionOut], tags=["collections"])
def list_collections(request: HttpRequest) -> Any:
    """Collections the caller may read something in."""
    user = current_user(request)
    return [_collection(collection, user) for collection in collections_for(user)]


@api.post("/collections", response={201: schemas.CollectionOut}, tags=["collections"])
def create_collection(request: HttpRequest, body: schemas.CollectionIn) -> Any:
    """Makes a collection; the caller, who must be a collection manager, manages it."""
    user = current_user(request)
    collection = actions.do_create_collection(
        body.name,
        description=body.description,
        classification=body.classification,
        acting_user=user,
        actor=actor_of(request),
    )
    return 201, _collection(collection, user)


@api.post("/collections/{collection_id}/retry", response={202: schemas.RetriedOut}, tags=["collections"])
def retry_collection(request: HttpRequest, collection_id: str) -> Any:
    """Reads every document of a collection again whose newest version could not be read."""
    user = current_user(request)
    collection = access_collection(user, collection_id, role="contributor")
    return 202, {"retried": versions.do_retry_failed(collection, acting_user=user, actor=actor_of(request))}


@api.post("/search", response=schemas.SearchOut, tags=["search"])
def search(request: HttpRequest, body: schemas.SearchIn) -> Any:
    """The best passages for a query among what the caller may see."""
    user = current_user(request)
    throttle.take(throttle.SEARCH, user.pk)
    found = do_search(user, body.query, actor=actor_of(request), collection_ids=body.collections, k=body.k)
    return {"results": [passage.as_dict() for passage in found.passages], "coverage": found.coverage.as_dict()}


def _collection(collection: Collection, user: User) -> dict[str, Any]:
    return {
        "id": collection.pk,
        "name": collection.name,
        "description": collection.description,
        "classification": collection.classification,
        "documents": documents_for(user).filter(collection=collection).count(),
    }
