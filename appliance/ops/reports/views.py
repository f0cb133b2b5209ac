"""Pages of reports, for compliance officers: who was shown what, and files to hand out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts.models import User
from appliance.accounts.sessions import actor_of
from appliance.audit.models import EventType
from appliance.audit.record import Event, record
from appliance.ops.audit.names import officers_only
from appliance.ops.audit.seal import seal_of
from appliance.ops.reports.asking import ABOUT, ReportRefused, kind_named, period_between, subject_named
from appliance.ops.reports.making import do_make, report_on
from appliance.ops.reports.model import Format, Kind, Of, Report

_FIELDS = ("of", "value", "from", "to")
_HINTS = {
    Kind.DISCLOSURES: "Each time a document was shown: when, to whom, which pages, and why.",
    Kind.SUBJECT: "Every event by one person or about them, for a request of theirs to see it.",
    Kind.ACCESS: "Who may read a collection today, through which rule, and who did.",
}


@dataclass(slots=True)
class Reader:
    """One person to whom something was shown."""

    name: str
    person: str
    title: str
    passages: int
    answers: int
    opened: int
    last: datetime


@require_GET
@officers_only
def disclosures(request: HttpRequest) -> HttpResponse:
    """Who was shown passages of one document, collection or reference; or what one person was shown."""
    form = {name: request.GET.get(name, "") for name in _FIELDS}
    context: dict[str, Any] = {"form": form, "kinds": [(of, of.label) for of in ABOUT[Kind.DISCLOSURES]]}
    error: ReportRefused | None = None
    if form["value"]:
        try:
            subject = subject_named(Kind.DISCLOSURES, form["of"], form["value"])
            period = period_between(form["from"], form["to"])
        except ReportRefused as refused:
            error = refused
        else:
            event = Event(
                EventType.REVIEW, "audit.disclosures", entities=subject.entities, detail={"of": str(subject.of)}
            )
            record(event, actor=actor_of(request))
            report = report_on(Kind.DISCLOSURES, subject, period)
            context |= {"report": report, "readers": _readers(report), "period": str(period)}
    context |= {"error": error, "tab": "disclosures", "seal": seal_of(), "formats": Format.choices}
    return render(request, "audit/reports/disclosures.html", context, status=422 if error else 200)


def _readers(report: Report) -> list[Reader]:
    """One for each person, whoever was shown something last first."""
    people = User.objects.filter(pk__in={e.actor_id for e in report.events if e.actor_id})
    titles = {str(pk): title for pk, title in people.values_list("pk", "title")}
    listed = {row["event"] for row in report.rows}
    passages: dict[str, int] = {}
    for row in report.rows:
        passages[row["event"]] = passages.get(row["event"], 0) + row["passages"]
    readers: dict[Any, Reader] = {}
    for event in report.events:
        if str(event.uid) not in listed:
            continue
        reader = readers.get(event.actor_id)
        if reader is None:
            name, title = report.names.actor(event), titles.get(str(event.actor_id), "")
            reader = Reader(name, str(event.actor_id or ""), title, 0, 0, 0, event.recorded_at)
            readers[event.actor_id] = reader
        reader.passages += passages[str(event.uid)]
        reader.answers += event.action == "answer.passages"
        reader.opened += event.type == EventType.ACCESS
        reader.last = max(reader.last, event.recorded_at)
    return sorted(readers.values(), key=lambda reader: reader.last, reverse=True)


@require_GET
@officers_only
def reports(request: HttpRequest) -> HttpResponse:
    """The reports that can be made."""
    return _reports(request)


def _reports(request: HttpRequest, *, error: ReportRefused | None = None, kind: str = "") -> HttpResponse:
    context = {
        "reports": [
            {
                "kind": known,
                "label": known.label,
                "hint": _HINTS[known],
                "about": [(of, of.label) for of in ABOUT[known]],
                "formats": [(f, f.label) for f in Format if not (f == Format.FHIR and known == Kind.ACCESS)],
                "form": {name: request.POST.get(name, "") for name in (*_FIELDS, "format")} if known == kind else {},
                "error": error if known == kind else None,
            }
            for known in Kind
        ],
        "error": error if kind not in Kind.values else None,
        "tab": "reports",
        "seal": seal_of(),
        "person": Of.PERSON,
    }
    return render(request, "audit/reports/reports.html", context, status=422 if error else 200)


@require_POST
@officers_only
def make(request: HttpRequest, kind: str) -> HttpResponse:
    """A report as a file."""
    given = request.POST
    try:
        wanted = kind_named(kind)
        subject = subject_named(wanted, given.get("of", ""), given.get("value", ""))
        period = period_between(given.get("from", ""), given.get("to", ""))
        made = do_make(wanted, subject, period, given.get("format", ""), actor=actor_of(request))
    except ReportRefused as refused:
        return _reports(request, error=refused, kind=kind)
    response = HttpResponse(made.content, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{made.filename}"'
    return response
