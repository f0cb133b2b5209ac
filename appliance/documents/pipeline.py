"""One version's way from an encrypted blob to the index.

    blob -> clamd, where a site has set it, sees the decrypted bytes before anything else does
         -> private folder -> sandbox: parse, chunk -> VersionText, VersionPage, Chunk rows   (status: embedding)
                                                    -> documents of its own for each child
         -> vectors over HTTP, batch by batch       -> ChunkEmbedding rows                    (progress: chunks_done)
         -> Posting rows, counters, status ready, current version flipped                     (one transaction)

Each step may be repeated: it first removes what an earlier attempt left. Every write checks the lease, and leaves a
line in the version's log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from django.db import connection, transaction
from django.db.models.functions import Now

from appliance.audit.models import Outcome
from appliance.documents import antivirus, blobs, children, embedding, index, layout, passwords, reindexing, steps
from appliance.documents.actions import record_ingest
from appliance.documents.lease import Lease
from appliance.documents.models import (
    Chunk,
    ChunkEmbedding,
    Document,
    DocumentVersion,
    EmbeddingModel,
    VersionPage,
    VersionStatus,
    VersionText,
)
from appliance.documents.private_folders import private_folder
from appliance.lib.text import storable

if TYPE_CHECKING:
    import ingest

_BATCH = 64
_PROGRESS_EVERY_S = 2.0


class Read(Protocol):
    """What turns a file into text and chunks: the sandbox, handed in by the task."""

    def __call__(
        self, path: Path, name: str, password: str | None, template: str, on_progress: Callable[[int, int], None]
    ) -> tuple[ingest.ParsedDocument, list[ingest.Chunk]]: ...


def run(lease: Lease, read: Read) -> None:
    """Takes one leased version to ready. Raises IngestError, ModelUnavailable, LeaseLost or a fault of ours."""
    version = DocumentVersion.objects.select_related("document__collection").get(pk=lease.version_id)
    with transaction.atomic():
        lease.update(status=VersionStatus.PARSING, error_code="", error_reason="", error_hint="", chunks_done=0)
        steps.note(version.pk, "started", attempt=lease.attempts)
    _scan(lease, version)
    template = version.document.collection.chunk_template
    progress = _Progress(lease)
    started = time.monotonic()
    with _opened(version) as path:
        parsed, chunks = read(path, version.document.filename, passwords.unseal(version), template, progress)
        children.check_number(version, len(parsed.children))
        _store_text(lease, version, parsed, chunks, template, seconds=time.monotonic() - started)
        _take_in_children(lease, version, parsed)
    started = time.monotonic()
    while True:
        model = embedding.active()
        _embed(lease, version, model)
        if _finish(lease, version, model, embedding_s=time.monotonic() - started):
            break
    if embedding.being_built() is not None:
        reindexing.enqueue()


def _scan(lease: Lease, version: DocumentVersion) -> None:
    """Raises Infected, TooLargeToScan, ScanBroken or ScannerUnavailable. The plain bytes lie on no disk meanwhile."""
    if not antivirus.is_on():
        return
    signature = antivirus.find(blobs.read(version))
    if signature:
        raise antivirus.Infected(signature)
    with transaction.atomic():
        lease.check()
        steps.note(version.pk, antivirus.SCANNED)


@contextmanager
def _opened(version: DocumentVersion) -> Iterator[Path]:
    """The decrypted file in a folder of its own, gone afterwards with all that was made beside it."""
    with private_folder() as folder:
        path = folder / "document"
        with path.open("wb") as out:
            for segment in blobs.read(version):
                out.write(segment)
        yield path


class _Progress:
    """Writes how many pages are done into the log, every two seconds at most."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._last = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() - self._last < _PROGRESS_EVERY_S:
            return
        self._last = time.monotonic()
        with transaction.atomic():
            self._lease.check()
            steps.note(self._lease.version_id, "reading", pages_done=done, pages=of)


def _store_text(
    lease: Lease,
    version: DocumentVersion,
    parsed: ingest.ParsedDocument,
    chunks: list[ingest.Chunk],
    template: str,
    *,
    seconds: float,
) -> None:
    with transaction.atomic():
        lease.check()
        Chunk.objects.filter(version=version).delete()
        VersionText.objects.update_or_create(
            version=version,
            defaults={
                "text": parsed.text,
                "pages": [[page.number, page.start, page.end] for page in parsed.pages],
                "sections": [[section.heading, section.level, section.start] for section in parsed.sections],
            },
        )
        _store_layouts(version, parsed)
        Chunk.objects.bulk_create(
            [
                Chunk(
                    version=version,
                    ordinal=chunk.ordinal,
                    page=chunk.page,
                    start=chunk.start,
                    end=chunk.end,
                    heading=chunk.heading[:300],
                    text=chunk.text,
                    indexed_text=storable(chunk.indexed_text),
                )
                for chunk in chunks
            ],
            batch_size=500,
        )
        lease.update(
            status=VersionStatus.EMBEDDING,
            media_type=parsed.media_type,
            title=parsed.title[:300],
            parties=list(parsed.parties),
            label=_label(parsed)[:500],
            num_pages=len(parsed.pages),
            paginated=parsed.paginated,
            num_chunks=len(chunks),
            indexed_template=template,
            sealed_password=None,
        )
        confidences = [page.ocr_confidence for page in parsed.layouts if page.ocr_confidence is not None]
        steps.note(
            version.pk,
            "read",
            media_type=parsed.media_type,
            pages=len(parsed.pages),
            characters=len(parsed.text),
            chunks=len(chunks),
            seconds=round(seconds, 2),
            notes=list(parsed.notes),
            pages_from_pictures=len(confidences),
            lowest_confidence=round(min(confidences), 2) if confidences else None,
        )


def _store_layouts(version: DocumentVersion, parsed: ingest.ParsedDocument) -> None:
    VersionPage.objects.filter(version=version).delete()
    VersionPage.objects.bulk_create(
        [
            VersionPage(
                version=version,
                number=page.number,
                width_pt=page.width_pt,
                height_pt=page.height_pt,
                ocr_confidence=page.ocr_confidence,
                words=layout.pack(cast("tuple[layout.WordBox, ...]", page.words)),  # the same six fields
            )
            for page in parsed.layouts
        ],
        batch_size=200,
    )


def _take_in_children(lease: Lease, version: DocumentVersion, parsed: ingest.ParsedDocument) -> None:
    if not parsed.children:
        return
    taken = children.do_take_in(lease, version, parsed.children)
    with transaction.atomic():
        lease.check()
        steps.note(version.pk, "unpacked", new=taken.new, known=taken.known, too_deep=taken.too_deep)


def _label(parsed: ingest.ParsedDocument) -> str:
    """What names the document among others: "Supply Agreement (Tessaly Limited; Marrowfield Trust)"."""
    known = parsed.title.casefold()
    more = [name for name in (*parsed.parties, parsed.name_words) if name and name.casefold() not in known]
    return f"{parsed.title} ({'; '.join(more)})" if more else parsed.title


def _embed(lease: Lease, version: DocumentVersion, model: EmbeddingModel) -> None:
    """Vectors for every chunk. While one batch is stored the next is already being embedded."""
    with transaction.atomic():
        lease.check()
        ChunkEmbedding.objects.filter(version=version).delete()  # of the model that was replaced meanwhile
    rows = Chunk.objects.filter(version=version).order_by("ordinal").values_list("pk", "indexed_text").iterator()
    done = 0
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="embed") as pool:
        waiting: tuple[list[int], Future[list[list[float]]]] | None = None
        while True:
            batch = list(islice(rows, _BATCH))
            texts = [text for _, text in batch]
            following = ([pk for pk, _ in batch], pool.submit(embedding.vectors_of, model, texts)) if batch else None
            if waiting is not None:
                pks, future = waiting
                done += _store_vectors(lease, version, model, pks, future.result())
                lease.update(chunks_done=done)
            if following is None:
                return
            waiting = following


def _store_vectors(
    lease: Lease, version: DocumentVersion, model: EmbeddingModel, pks: list[int], vectors: list[list[float]]
) -> int:
    with transaction.atomic():
        lease.check()
        embedding.store(version, model, pks, vectors)
    return len(pks)


def _finish(lease: Lease, version: DocumentVersion, model: EmbeddingModel, *, embedding_s: float) -> bool:
    """Ready, in one transaction. Returns False, with nothing changed, when search uses another model by now."""
    with transaction.atomic():
        document = Document.objects.select_for_update(no_key=True).filter(pk=version.document_id).first()
        lease.check()
        if not embedding.is_still_active(model):
            return False
        assert document is not None  # a document that was deleted took the version, and so the lease, with it
        num_terms = index.write_postings(connection, version.pk)
        lease.update(num_terms=num_terms)
        DocumentVersion.objects.filter(pk=version.pk).update(
            status=VersionStatus.READY, ready_at=Now(), lease_until=None, lease_token=None
        )
        version.refresh_from_db()
        steps.note(version.pk, "embedded", chunks=version.num_chunks, seconds=round(embedding_s, 2))
        taken = _take_place(document, version)
        steps.note(version.pk, "ready", terms=num_terms, current=taken)
        record_ingest(version, Outcome.SUCCESS, chunks=version.num_chunks, pages=version.num_pages, current=taken)
    return True


def _take_place(document: Document, version: DocumentVersion) -> bool:
    """Makes a version that has just become ready the one in use, if it may be. `document` is locked.

    The last decision counts, whenever its reading ends. Sending a version decides for it; choosing one by hand decides
    against all that had been sent by then. So it takes the place if it is newer than the one in use, and was sent after
    the last choice by hand. Otherwise it is ready, and waits to be chosen.
    """
    in_use = DocumentVersion.objects.filter(current_of=document).values_list("n", flat=True).first() or 0
    if version.n <= max(in_use, document.newest_when_chosen):
        return False
    title = (version.title or document.title)[:300]
    Document.objects.filter(pk=document.pk).update(current_version=version, title=title)
    return True
