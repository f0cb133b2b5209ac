"""/api/v1: documents and their versions, from an upload to its destruction. Views parse, call, render."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from ninja import File, Form, Router
from ninja.files import UploadedFile

from appliance.accounts.sessions import actor_of, current_user
from appliance.api import schemas
from appliance.documents import actions, versions
from appliance.documents.access import access_collection, access_document, access_version, documents_for
from appliance.documents.models import Document, DocumentVersion
from appliance.documents.pages import do_read_text
from appliance.documents.steps import steps_of
from appliance.lib.errors import BadRequest

router = Router(tags=["documents"])


@router.post("/documents", response={202: schemas.DocumentOut})
def upload(request: HttpRequest, collection: Form[str], file: File[UploadedFile], password: Form[str] = "") -> Any:
    """Takes a file in. It is read in the background: poll the document until it is ready or failed.

    `password` opens a file that needs one. It is kept, encrypted, until the file has been read, and then erased.
    """
    user = current_user(request)
    target = access_collection(user, collection, role="contributor")
    version = actions.do_upload(
        collection=target,
        filename=file.name or "",
        file=file,
        password=password,
        acting_user=user,
        actor=actor_of(request),
    )
    return 202, _document(access_document(user, version.document_id))


@router.get("/documents", response=list[schemas.DocumentOut])
def list_documents(request: HttpRequest, collection: str | None = None, offset: int = 0, limit: int = 100) -> Any:
    """Documents the caller may read, by title; at most 500 at a time."""
    if offset < 0 or not 1 <= limit <= 500:
        raise BadRequest("offset starts at 0, limit lies between 1 and 500.", code="invalid_request")
    documents = documents_for(current_user(request)).select_related("collection", "current_version")
    if collection is not None:
        documents = documents.filter(collection=access_collection(current_user(request), collection))
    page = documents.prefetch_related("versions")[offset : offset + limit]
    return [_document(document) for document in page]


@router.get("/documents/{document_id}", response=schemas.DocumentOut)
def get_document(request: HttpRequest, document_id: str) -> Any:
    """One document: status, versions, error."""
    return _document(access_document(current_user(request), document_id))


@router.get("/documents/{document_id}/versions", response=list[schemas.VersionOut])
def list_versions(request: HttpRequest, document_id: str) -> Any:
    """All versions of a document, newest first. The earlier ones stay, and stay citable."""
    return _versions(access_document(current_user(request), document_id))


@router.post("/documents/{document_id}/versions", response={202: schemas.DocumentOut})
def add_version(request: HttpRequest, document_id: str, file: File[UploadedFile]) -> Any:
    """Takes a file in as the next version, whatever it is called. The version in use stays so until it is ready."""
    user = current_user(request)
    versions.do_add_version(document_id, filename=file.name or "", file=file, acting_user=user, actor=actor_of(request))
    return 202, _document(access_document(user, document_id))


@router.post("/documents/{document_id}/versions/{n}/current", response=schemas.DocumentOut)
def make_current(request: HttpRequest, document_id: str, n: int) -> Any:
    """Rolls back, or forward: searches and answers use version `n` from now on. No version is lost."""
    user = current_user(request)
    versions.do_make_current(document_id, n, acting_user=user, actor=actor_of(request))
    return _document(access_document(user, document_id))


@router.post("/documents/{document_id}/versions/{n}/retry", response={202: schemas.DocumentOut})
def retry(request: HttpRequest, document_id: str, n: int) -> Any:
    """Reads a version again that failed or was set aside."""
    user = current_user(request)
    versions.do_retry(document_id, n, acting_user=user, actor=actor_of(request))
    return 202, _document(access_document(user, document_id))


@router.post("/documents/{document_id}/versions/{n}/password", response={202: schemas.DocumentOut})
def give_password(request: HttpRequest, document_id: str, n: int, body: schemas.PasswordIn) -> Any:
    """Reads a version with the password that opens it. It is kept, encrypted, for that one reading, and then erased."""
    user = current_user(request)
    versions.do_retry(document_id, n, password=body.password, acting_user=user, actor=actor_of(request))
    return 202, _document(access_document(user, document_id))


@router.get("/documents/{document_id}/versions/{n}/log", response=list[schemas.StepOut])
def log(request: HttpRequest, document_id: str, n: int) -> Any:
    """What happened to a version, step by step: counts, codes and times, never words of the document."""
    version = access_version(current_user(request), document_id, n)
    return [{"at": step.at, "step": step.step, "detail": step.detail} for step in steps_of(version)]


@router.delete("/documents/{document_id}", response={204: None})
def delete_document(request: HttpRequest, document_id: str) -> Any:
    """Destroys a document and its key. The audit of it stays."""
    actions.do_delete_document(document_id, acting_user=current_user(request), actor=actor_of(request))
    return 204, None


@router.get("/documents/{document_id}/versions/{n}/content")
def content(request: HttpRequest, document_id: str, n: int) -> StreamingHttpResponse:
    """The original file."""
    version, segments = actions.do_download(
        user=current_user(request), actor=actor_of(request), document_id=document_id, n=n
    )
    response = StreamingHttpResponse(segments, content_type=version.media_type or "application/octet-stream")
    response["Content-Disposition"] = content_disposition_header(True, version.document.filename) or "attachment"
    response["Content-Length"] = str(version.size_bytes)
    return response


@router.get("/documents/{document_id}/versions/{n}/text")
def text(request: HttpRequest, document_id: str, n: int) -> HttpResponse:
    """The extracted text that passages' offsets count in, with its pages as [number, start, end]."""
    found = do_read_text(user=current_user(request), actor=actor_of(request), document_id=document_id, n=n)
    return JsonResponse({"text": found.text, "pages": found.pages})


def _error(version: DocumentVersion) -> dict[str, str] | None:
    if not version.error_code:
        return None
    return {"code": version.error_code, "message": version.error_reason, "hint": version.error_hint}


def _document(document: Document) -> dict[str, Any]:
    rows = _versions(document)
    return {
        "id": document.pk,
        "collection": document.collection_id,
        "title": document.title,
        "filename": document.filename,
        "status": rows[0]["status"],
        "error": rows[0]["error"],
        "current_version": document.current_version.n if document.current_version else None,
        "versions": rows,
    }


def _versions(document: Document) -> list[dict[str, Any]]:
    return [
        {
            "n": version.n,
            "status": version.status,
            "sha256": version.sha256,
            "media_type": version.media_type,
            "size_bytes": version.size_bytes,
            "pages": version.num_pages,
            "chunks": version.num_chunks,
            "chunks_done": version.chunks_done,
            "created_at": version.created_at,
            "ready_at": version.ready_at,
            "error": _error(version),
        }
        for version in sorted(document.versions.all(), key=lambda version: -version.n)
    ]
