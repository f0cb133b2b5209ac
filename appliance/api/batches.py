"""/api/v1: uploads of many files. A list of all of them comes first, so that each is accounted for.

    POST batches {collection, files}  ->  POST batches/{id}/files/{file} for each  ->  GET batches/{id}, .../files

An upload is its sender's own: to others it is not there.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import File, Router, Schema
from ninja.files import UploadedFile
from pydantic import Field

from appliance.accounts.sessions import actor_of, current_user
from appliance.api.schemas import RetriedOut
from appliance.documents import bulk
from appliance.documents.access import access_collection
from appliance.documents.models import UploadBatch, UploadItem
from appliance.lib.errors import BadRequest

router = Router(tags=["batches"])

State = Literal["ready", "working", "failed", "refused", "not_sent", "cancelled"]


class PathIn(Schema):
    """A file that will be sent. Of two files of one name the path tells which is which."""

    path: str = Field(min_length=1, max_length=500, pattern=r"\S")
    size_bytes: int = Field(ge=0)


class FilesIn(Schema):
    """Files that will be sent, or more of them."""

    files: list[PathIn] = Field(max_length=bulk.MAX_FILES)


class BatchIn(FilesIn):
    """A new upload to a collection."""

    collection: str


class FileOut(Schema):
    """One file of an upload. `known`: its bytes were in the collection already. `error` says why it is not ready."""

    id: int
    path: str
    size_bytes: int
    state: State
    document: uuid.UUID | None
    version: int | None
    known: bool
    error: dict[str, str] | None


class BatchOut(Schema):
    """How far an upload is. The states exclude each other: their sum is `total`, whatever happened on the way."""

    id: uuid.UUID
    collection: uuid.UUID
    created_at: datetime
    paused: bool
    cancelled: bool
    total: int
    done: int
    states: dict[str, int]


class StartedOut(BatchOut):
    """A new upload, and the id of each of its files in the order in which they were named."""

    files: list[int]


class ListedOut(Schema):
    """The id of each file, in the order in which they were named."""

    files: list[int]


@router.post("", response={201: StartedOut})
def start(request: HttpRequest, body: BatchIn) -> Any:
    """Begins an upload with the list of its files. Each is then sent in a request of its own."""
    user = current_user(request)
    collection = access_collection(user, body.collection, role="contributor")
    batch = bulk.do_start(collection, acting_user=user)
    listed = bulk.do_announce(batch, [(file.path, file.size_bytes) for file in body.files])
    return 201, _batch(batch) | {"files": listed}


@router.get("", response=list[BatchOut])
def list_batches(request: HttpRequest) -> Any:
    """The caller's own uploads, newest first; at most 100."""
    return [_batch(batch) for batch in bulk.batches_of(current_user(request))[:100]]


@router.get("/{batch_id}", response=BatchOut)
def get_batch(request: HttpRequest, batch_id: str) -> Any:
    """How far an upload is."""
    return _batch(bulk.access_batch(current_user(request), batch_id))


@router.post("/{batch_id}/files", response={201: ListedOut})
def add_files(request: HttpRequest, batch_id: str, body: FilesIn) -> Any:
    """Adds files to the list of an upload."""
    batch = bulk.access_batch(current_user(request), batch_id)
    return 201, {"files": bulk.do_announce(batch, [(file.path, file.size_bytes) for file in body.files])}


@router.get("/{batch_id}/files", response=list[FileOut])
def list_files(
    request: HttpRequest, batch_id: str, state: State | None = None, offset: int = 0, limit: int = 500
) -> Any:
    """What became of each file, in the order of the list; at most 1,000 at a time."""
    if offset < 0 or not 1 <= limit <= 1000:
        raise BadRequest("offset starts at 0, limit lies between 1 and 1,000.", code="invalid_request")
    batch = bulk.access_batch(current_user(request), batch_id)
    return [_file(item) for item in bulk.items_of(batch, state or "")[offset : offset + limit]]


@router.post("/{batch_id}/files/{file_id}", response={202: FileOut})
def send(request: HttpRequest, batch_id: str, file_id: int, file: File[UploadedFile | None] = None) -> Any:
    """Sends one file. A refusal is written down with its reason and is an answer like any other: look at `error`.

    Sending a file again that was taken changes nothing, so a request without an answer can be repeated.
    """
    user = current_user(request)
    batch = bulk.access_batch(user, batch_id)
    if file is None and not request.META.get("too_large"):
        raise BadRequest("file: No file arrived.", code="invalid_request")
    item = bulk.do_receive(batch, file_id, file, acting_user=user, actor=actor_of(request))
    item.batch = batch
    return 202, _file(item)


@router.post("/{batch_id}/pause", response=BatchOut)
def pause(request: HttpRequest, batch_id: str) -> Any:
    """What waits is not read until the upload goes on; what is being read is read to its end."""
    batch = bulk.access_batch(current_user(request), batch_id)
    bulk.do_pause(batch, actor=actor_of(request))
    return _batch(batch)


@router.post("/{batch_id}/resume", response=BatchOut)
def resume(request: HttpRequest, batch_id: str) -> Any:
    """What waits is read again."""
    batch = bulk.access_batch(current_user(request), batch_id)
    bulk.do_resume(batch, actor=actor_of(request))
    return _batch(batch)


@router.post("/{batch_id}/cancel", response=BatchOut)
def cancel(request: HttpRequest, batch_id: str) -> Any:
    """What was not sent will not be taken; what waits is set aside; what is ready stays. It cannot be undone."""
    user = current_user(request)
    bulk.do_cancel(bulk.access_batch(user, batch_id), actor=actor_of(request))
    return _batch(bulk.access_batch(user, batch_id))


@router.post("/{batch_id}/retry", response={202: RetriedOut})
def retry(request: HttpRequest, batch_id: str) -> Any:
    """Reads every file of the upload again that could not be read."""
    user = current_user(request)
    batch = bulk.access_batch(user, batch_id)
    return 202, {"retried": bulk.do_retry_failed(batch, acting_user=user, actor=actor_of(request))}


def _batch(batch: UploadBatch) -> dict[str, Any]:
    tally = bulk.tally(batch)
    return {
        "id": batch.pk,
        "collection": batch.collection_id,
        "created_at": batch.created_at,
        "paused": batch.paused_at is not None and batch.cancelled_at is None,
        "cancelled": batch.cancelled_at is not None,
        "total": tally.total,
        "done": tally.done,
        "states": tally.counts,
    }


def _file(item: UploadItem) -> dict[str, Any]:
    version = item.version
    source = item if item.error_code else version
    error = None
    if source is not None and source.error_code:
        error = {"code": source.error_code, "message": source.error_reason, "hint": source.error_hint}
    return {
        "id": item.pk,
        "path": item.path,
        "size_bytes": item.size_bytes,
        "state": bulk.state_of(item),
        "document": version.document_id if version else None,
        "version": version.n if version else None,
        "known": item.known,
        "error": error,
    }
