"""A report as a file that leaves the appliance, with what it can be checked by.

    report.csv|jsonl|fhir.json|pdf   the report
    evidence.json                    its SHA-256, the events and leaves it was made from, who made it and when
    checkpoint.txt                   the newest signed head of the log
    README.txt                       how to check it

Making one is recorded before its first byte leaves, with the file's SHA-256: so the sealed log covers it too.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from django.utils import timezone

from appliance.audit.models import Checkpoint, EventType
from appliance.audit.record import Actor, Event, record
from appliance.ops.reports.access_review import access_review
from appliance.ops.reports.asking import ReportRefused
from appliance.ops.reports.disclosures import disclosures
from appliance.ops.reports.fhir import as_fhir
from appliance.ops.reports.model import MAX_EVENTS, Format, Kind, Period, Report, Subject, leaf_of, written
from appliance.ops.reports.subjects import subject_access
from appliance.ops.reports.tables import as_csv, as_jsonl

_ENDINGS = {Format.CSV: "csv", Format.JSONL: "jsonl", Format.FHIR: "fhir.json", Format.PDF: "pdf"}
_MAKERS: dict[Kind, Callable[..., Report]] = {
    Kind.DISCLOSURES: disclosures,
    Kind.SUBJECT: subject_access,
    Kind.ACCESS: access_review,
}
_README = """\
{title}
{period}, made {made}

{file} is the report. evidence.json says its SHA-256 and which events it was made from: "leaves" are their places in the
sealed log of the appliance, "unsealed" how many had none yet. checkpoint.txt is the newest signed head of that log
when the report was made.

To check it: compute the SHA-256 of {file} and compare. Then ask for the log itself (manage.py export_audit on the
appliance), verify it with the program inside, against checkpoints that you keep elsewhere, and look up the leaves. The
making of this report is in the log too, with the same SHA-256: action report.make.
"""


@dataclass(frozen=True, slots=True)
class Made:
    """The file, and what it is called. `sha256` is of the report inside."""

    filename: str
    content: bytes
    sha256: str
    report: Report


def report_on(kind: Kind, subject: Subject, period: Period, *, limit: int = MAX_EVENTS) -> Report:
    """The report itself: nothing is recorded."""
    return _MAKERS[kind](subject, period, limit=limit)


def do_make(
    kind: Kind, subject: Subject, period: Period, wanted: str, *, actor: Actor, limit: int = MAX_EVENTS
) -> Made:
    """Makes a report in the format `wanted` and records it. Raises ReportRefused."""
    if wanted not in Format.values:
        raise ReportRefused(f"There is no format named “{wanted[:40]}”.", hint=f"Choose {', '.join(Format.values)}.")
    form = Format(wanted)
    if form == Format.FHIR and kind == Kind.ACCESS:
        raise ReportRefused(
            "Who may read a collection is no event, so FHIR has no form for it.", hint="Choose another."
        )
    report = report_on(kind, subject, period, limit=limit)
    checkpoint = Checkpoint.objects.order_by("-size").first()
    note = checkpoint.note if checkpoint else ""
    content = _written(report, form, note)
    digest = hashlib.sha256(content).hexdigest()
    made_at = timezone.now()
    detail = {
        "report": str(kind),
        "of": str(subject.of),
        "format": str(form),
        "events": len(report.events),
        "rows": len(report.rows),
        "cut_off": report.truncated,
        "from": written(period.start),
        "until": written(period.end),
        "sha256": digest,
    }
    event = record(Event(EventType.EXPORT, "report.make", entities=subject.entities, detail=detail), actor=actor)
    inside = f"report.{_ENDINGS[form]}"
    leaves = sorted(leaf for event_ in report.events if (leaf := leaf_of(event_)) is not None)
    evidence = {
        "report": inside,
        "sha256": digest,
        "kind": str(kind),
        "about": subject.name,
        "from": written(period.start),
        "until": written(period.end),
        "made_at": written(made_at),
        "made_by": actor.name,
        "recorded_as": str(event.uid),
        "rows": len(report.rows),
        "events": [str(one.uid) for one in report.events],
        "cut_off": report.truncated,
        "leaves": leaves,
        "unsealed": len(report.events) - len(leaves),
        "checkpoint_size": checkpoint.size if checkpoint else 0,
    }
    readme = _README.format(title=report.title, period=report.period, made=written(made_at), file=inside)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(inside, content)
        archive.writestr("evidence.json", json.dumps(evidence, ensure_ascii=False, indent=1))
        archive.writestr("checkpoint.txt", note)
        archive.writestr("README.txt", readme)
    filename = f"{kind}-{timezone.localtime(made_at):%Y-%m-%d-%H%M%S}.zip"
    return Made(filename, packed.getvalue(), digest, report)


def _written(report: Report, form: Format, checkpoint: str) -> bytes:
    if form == Format.CSV:
        return as_csv(report)
    if form == Format.JSONL:
        return as_jsonl(report)
    if form == Format.FHIR:
        return as_fhir(report)
    from appliance.ops.reports.pdf import as_pdf  # its library is only loaded where somebody prints

    return as_pdf(report, checkpoint=checkpoint)
