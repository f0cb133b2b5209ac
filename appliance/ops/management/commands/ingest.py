"""manage.py ingest PATH... --collection NAME [--create] [--wait] [--json]

An upload begun this way, or on the page, is looked after with its id:
    manage.py ingest --show|--pause|--resume|--cancel|--retry-failed UPLOAD [--wait] [--json]
One document, or all of a collection that could not be read:
    manage.py ingest --retry DOCUMENT | --retry-all NAME [--wait] [--json]
"""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

from django.conf import settings

from appliance.documents import actions, bulk, versions
from appliance.documents.access import as_uuid
from appliance.documents.models import (
    UNFINISHED,
    Collection,
    Document,
    DocumentVersion,
    UploadBatch,
    UploadItem,
    VersionStatus,
)
from appliance.lib.errors import ApplianceError, BadRequest, NotFound
from appliance.ops.commands import COMMAND, ApplianceCommand, Options, collection_named

_POLL_S = 0.25
_ON_AN_UPLOAD: dict[str, Callable[[UploadBatch], object]] = {
    "show": lambda batch: None,
    "pause": lambda batch: bulk.do_pause(batch, actor=COMMAND),
    "resume": lambda batch: bulk.do_resume(batch, actor=COMMAND),
    "cancel": lambda batch: bulk.do_cancel(batch, actor=COMMAND),
    "retry_failed": lambda batch: bulk.do_retry_failed(batch, acting_user=None, actor=COMMAND),
}


class Command(ApplianceCommand):
    help = "Takes files and folders into a collection, the way an upload does, and looks after uploads."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="*", metavar="PATH", help="files, or folders with all files below them")
        parser.add_argument("--collection", metavar="NAME", help="where the files go")
        parser.add_argument("--create", action="store_true", help="make the collection if it is not there")
        parser.add_argument("--wait", action="store_true", help="until every file is ready or failed")
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument("--show", metavar="UPLOAD", help="what became of each file of an upload")
        instead.add_argument("--pause", metavar="UPLOAD", help="what waits is not read until it goes on")
        instead.add_argument("--resume", metavar="UPLOAD", help="what waits is read again")
        instead.add_argument("--cancel", metavar="UPLOAD", help="what waits is not read at all")
        instead.add_argument("--retry-failed", metavar="UPLOAD", help="reads again what could not be read")
        instead.add_argument("--retry", metavar="DOCUMENT", help="reads the newest version of one document again")
        instead.add_argument("--retry-all", metavar="NAME", help="reads all of a collection again that failed")

    def act(self, options: Options) -> dict[str, Any]:
        for name, act in _ON_AN_UPLOAD.items():
            if (given := getattr(options, name)) is not None:
                batch = _upload(given)
                act(batch)
                return _summary(_upload(given), wait=options.wait)
        if options.retry is not None:
            return self._retry(_newest(options.retry), wait=options.wait)
        if options.retry_all is not None:
            collection = collection_named(options.retry_all)
            retried = versions.do_retry_failed(collection, acting_user=None, actor=COMMAND)
            if options.wait:
                wait_for(DocumentVersion.objects.filter(document__collection=collection).values_list("pk", flat=True))
            return {"collection": str(collection.pk), "retried": retried, "documents": [], "refused": 0}
        if not options.paths or not options.collection:
            raise BadRequest("Name the files or folders, and the collection they go to.", hint="See --help.")
        return self._take_in(options)

    def _take_in(self, options: Options) -> dict[str, Any]:
        files = list(_named(options.paths))
        target = _collection(options.collection, create=options.create)
        batch = bulk.do_start(target, acting_user=None)
        items = bulk.do_announce(batch, [(name, path.stat().st_size) for path, name in files])
        places = {}
        for pk, (path, _) in zip(items, files, strict=True):
            places[pk] = str(path)
            _send(batch, pk, path)
        return _summary(batch, wait=options.wait, places=places)

    def _retry(self, version: DocumentVersion, *, wait: bool) -> dict[str, Any]:
        versions.do_retry(version.document_id, version.n, acting_user=None, actor=COMMAND)
        if wait:
            wait_for([version.pk])
        version.refresh_from_db()
        counts = {str(status): int(version.status == status) for status in VersionStatus}
        return {"documents": [_report(version.document.filename, version)], "refused": 0} | counts

    def show(self, result: dict[str, Any]) -> None:
        for row in result["documents"]:
            reason = f": {row['error']['message']} {row['error']['hint']}" if row["error"] else ""
            self.stdout.write(f"{row['status']:<12} {row['path']}{reason}")
        if "upload" in result:
            self.stdout.write(f"Upload {result['upload']}: {', '.join(_words(result['states']))}.")
        if "retried" in result:
            self.stdout.write(f"{result['retried']} are being read again.")

    def succeeded(self, result: dict[str, Any]) -> bool:
        return not (result["refused"] or result.get("failed") or result.get("quarantined"))


def _collection(name: str, *, create: bool) -> Collection:
    try:
        return collection_named(name)
    except NotFound:
        if not create:
            raise
        return actions.do_create_collection(name, acting_user=None, actor=COMMAND)


def _send(batch: UploadBatch, item_id: int, path: Path) -> None:
    """Hands one file in. Raises only what may pass: that of the file itself is written into its row."""
    if path.stat().st_size > settings.MAX_UPLOAD_BYTES:
        bulk.do_receive(batch, item_id, None, acting_user=None, actor=COMMAND)
        return
    with path.open("rb") as file:
        bulk.do_receive(batch, item_id, file, acting_user=None, actor=COMMAND)


def _named(paths: list[str]) -> Iterator[tuple[Path, str]]:
    """Each file with the path that names its document: below the folder given, with as much more of the way to it as
    tells it from a file of that name below another.
    """
    found: list[tuple[Path, PurePath]] = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            found += [(file, file.relative_to(path)) for file in sorted(path.rglob("*")) if _wanted(file)]
        elif path.is_file():
            found.append((path, PurePath(path.name)))
        else:
            raise NotFound(f"There is no file or folder {name!r}.", hint="Check the path.", code="path_not_found")
    taken = Counter(below for _, below in found)
    alike = {path.resolve() for path, below in found if taken[below] > 1}
    above = Path(os.path.commonpath([path.parent for path in alike])) if len(alike) > 1 else None
    for path, below in found:
        shared = above is not None and path.resolve() in alike
        yield path, str(path.resolve().relative_to(above) if shared and above is not None else below)


def _wanted(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".")


def _upload(given: str) -> UploadBatch:
    found = UploadBatch.objects.filter(pk=as_uuid(given, code="upload_not_found")).first()
    if found is None:
        raise NotFound(f"There is no upload {given!r}.", hint="Check its id.", code="upload_not_found")
    return found


def _newest(given: str) -> DocumentVersion:
    document = Document.objects.filter(pk=as_uuid(given, code="document_not_found")).first()
    newest = document.versions.select_related("document").order_by("-n").first() if document else None
    if newest is None:
        raise NotFound(f"There is no document {given!r}.", hint="Check its id.", code="document_not_found")
    return newest


def wait_for(version_ids: Any) -> None:
    """Returns when none of these versions (ids, or a query of them) is on its way any more."""
    unfinished = DocumentVersion.objects.filter(pk__in=version_ids, status__in=UNFINISHED)
    while unfinished.exists():
        time.sleep(_POLL_S)


def _summary(batch: UploadBatch, *, wait: bool, places: dict[int, str] | None = None) -> dict[str, Any]:
    """What became of every file. `places` are the paths on this machine, where they are known."""
    if wait:
        wait_for(batch.items.exclude(version=None).values("version"))
    items = list(bulk.items_of(batch))
    rows = [_row(item, (places or {}).get(item.pk, item.path)) for item in items]
    counts = {str(status): sum(row["status"] == status for row in rows) for status in VersionStatus}
    states = bulk.tally(batch).counts
    return {
        "upload": str(batch.pk),
        "collection": str(batch.collection_id),
        "paused": batch.paused_at is not None and batch.cancelled_at is None,
        "cancelled": batch.cancelled_at is not None,
        "total": len(rows),
        "states": states,
        "documents": rows,
        "refused": states["refused"],
    } | counts


def _row(item: UploadItem, path: str) -> dict[str, Any]:
    if item.version is not None:
        return _report(path, item.version)
    error = None
    if item.error_code:
        error = ApplianceError(item.error_reason, hint=item.error_hint, code=item.error_code).as_dict()
    return {"path": path, "status": bulk.state_of(item), "error": error}


def _report(path: str, version: DocumentVersion) -> dict[str, Any]:
    error = None
    if version.error_code:
        error = {"code": version.error_code, "message": version.error_reason, "hint": version.error_hint}
    return {
        "path": path,
        "document": str(version.document_id),
        "version": version.n,
        "status": version.status,
        "pages": version.num_pages,
        "chunks": version.num_chunks,
        "error": error,
    }


def _words(states: dict[str, int]) -> Iterator[str]:
    labels = dict(bulk.STATES)
    return (f"{labels[key].lower()} {number}" for key, number in states.items() if number)
