"""The log of a version's way through ingest. Counts, codes and times; never words of the document."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from appliance.documents.models import DocumentVersion, IngestStep

#: What an attempt writes before it has to wait. All of it goes when the next one waits for the same cause: a file that
#: waits for a day is one line, not thousands.
_ATTEMPT = ("started", "scanned", "reading", "read", "unpacked")
_MOST_SHOWN = 500


def note(version_id: int, step: str, **detail: Any) -> None:
    """Adds a step. Call it inside the transaction that holds the lease, so that a version that is gone has none."""
    steps = IngestStep.objects.filter(version_id=version_id).order_by("-pk")
    last = (steps.exclude(step__in=_ATTEMPT) if step == "waits" else steps).first()
    repeated = step in ("waits", "reading") and last is not None and last.step == step
    if last is None or not repeated or last.detail.get("code") != detail.get("code"):
        IngestStep.objects.create(version_id=version_id, step=step, detail=detail)
        return
    steps.filter(pk__gt=last.pk).delete()
    last.detail = detail | {"times": last.detail.get("times", 1) + 1}
    last.at = timezone.now()
    last.save(update_fields=["detail", "at"])


def steps_of(version: DocumentVersion) -> list[IngestStep]:
    """The log of a version, oldest first. Who may see the version may see it."""
    return list(version.steps.order_by("pk")[:_MOST_SHOWN])
